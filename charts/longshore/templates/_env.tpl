{{/* The variables that the chart sets, as YAML lists; `longshore.env` puts the user's over them. */}}

{{/* The namespace that the pod is in: kustomize may have moved it. */}}
{{- define "longshore.podNamespace" -}}
valueFrom:
  fieldRef:
    fieldPath: metadata.namespace
{{- end -}}

{{/* Of the operator. */}}
{{- define "longshore.operatorEnv" -}}
{{- $values := .Values.operator -}}
- name: LONGSHORE_OPERATOR_HOST
  value: {{ .Values.listenAddress | quote }}
- name: LONGSHORE_OPERATOR_PORT
  value: "8082"
- name: LONGSHORE_OPERATOR_IDENTITY
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- if eq .Values.scope "namespaced" }}
- name: LONGSHORE_OPERATOR_NAMESPACES
  {{- if .Values.watchNamespaces }}
  value: {{ include "longshore.namespaces" . | fromJsonArray | join "," | quote }}
  {{- else }}
  {{- include "longshore.podNamespace" . | nindent 2 }}
  {{- end }}
{{- end }}
- name: POD_NAMESPACE
  {{- include "longshore.podNamespace" . | nindent 2 }}
- name: LONGSHORE_OPERATOR_POOL_NAMESPACES
  value: {{ include "longshore.poolNamespaces" . | quote }}
{{- with .Values.operator.excludeNamespaces }}
- name: LONGSHORE_OPERATOR_EXCLUDE_NAMESPACES
  value: {{ uniq . | sortAlpha | join "," | quote }}
{{- end }}
- name: LONGSHORE_OPERATOR_OWNER
  value: {{ include "longshore.owner" . | quote }}
- name: LONGSHORE_OPERATOR_WORKER_TOKEN_FILE
  value: /var/run/longshore/tokens
{{- if include "longshore.rootSecret" . }}
- name: LONGSHORE_OPERATOR_ROOT_SECRET_FILE
  value: /var/run/longshore/root
- name: LONGSHORE_OPERATOR_TOKEN_GENERATION
  value: {{ int .Values.workerToken.generation | quote }}
{{- end }}
- name: LONGSHORE_OPERATOR_TOKEN_FILE
  value: /var/run/longshore/operator
{{- with include "longshore.tlsEnv" (list . "LONGSHORE_OPERATOR_TLS_DIR") }}
{{ . }}
{{- end }}
# The Lease tells the api where the leader is.
- name: LONGSHORE_OPERATOR_ADDRESS
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: LONGSHORE_OPERATOR_LEASE_NAMESPACE
  {{- include "longshore.podNamespace" . | nindent 2 }}
- name: LONGSHORE_OPERATOR_LEASE_NAME
  value: {{ include "longshore.name" (list . "operator") }}
- name: LONGSHORE_OPERATOR_LEASE_SECONDS
  value: {{ $values.leaseSeconds | quote }}
- name: LONGSHORE_OPERATOR_RETENTION_SECONDS
  value: {{ int64 $values.retentionSeconds | quote }}
- name: LONGSHORE_OPERATOR_LOG_LEVEL
  value: {{ $values.logLevel }}
{{- if $values.webhookSecrets }}
- name: LONGSHORE_OPERATOR_SECRETS_DIR
  value: /var/run/longshore-webhooks
{{- end }}
{{- end -}}

{{/* Of the api. */}}
{{- define "longshore.apiEnv" -}}
{{- $values := .Values.api -}}
- name: LONGSHORE_HOST
  value: {{ .Values.listenAddress | quote }}
- name: LONGSHORE_PORT
  value: "8080"
- name: LONGSHORE_NAMESPACE
  {{- include "longshore.podNamespace" . | nindent 2 }}
- name: LONGSHORE_ALL_NAMESPACES
  value: {{ $values.allNamespaces | quote }}
- name: LONGSHORE_AUTH
  value: {{ $values.auth.mode }}
{{- if eq $values.auth.mode "tokens" }}
- name: LONGSHORE_TOKENS_FILE
  value: /var/run/longshore-api/tokens
{{- end }}
{{- with $values.auth.audiences }}
- name: LONGSHORE_TOKEN_AUDIENCES
  value: {{ join "," . | quote }}
{{- end }}
- name: LONGSHORE_WORKER_TOKENS_FILE
  value: /var/run/longshore/tokens
{{- with include "longshore.tlsEnv" (list . "LONGSHORE_TLS_DIR") }}
{{ . }}
{{- end }}
{{- if .Values.operator.enabled }}
- name: LONGSHORE_OPERATOR_LEASE
  value: {{ include "longshore.name" (list . "operator") }}
- name: LONGSHORE_OPERATOR_TOKEN_FILE
  value: /var/run/longshore/operator
{{- end }}
{{- with $values.apps }}
- name: LONGSHORE_APPS
  value: {{ join "," . | quote }}
{{- end }}
- name: LONGSHORE_COMMANDS
  value: {{ $values.commands | quote }}
- name: LONGSHORE_LOG_FORMAT
  value: json
- name: LONGSHORE_LOG_LEVEL
  value: {{ $values.logLevel }}
{{- with include "longshore.resultsEnv" . }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Of a worker. Takes (list . pool). */}}
{{- define "longshore.workerEnv" -}}
{{- $root := first . -}}{{- $pool := last . -}}
- name: LONGSHORE_HOST
  value: {{ $root.Values.listenAddress | quote }}
- name: LONGSHORE_PORT
  value: "8080"
- name: LONGSHORE_PROBE_PORT
  value: "8081"
- name: LONGSHORE_APPS
  value: {{ join "," $pool.apps | quote }}
- name: LONGSHORE_SLOTS
  value: {{ int $pool.slots | quote }}
- name: LONGSHORE_COMMANDS
  value: {{ $pool.commands | quote }}
- name: LONGSHORE_WORKER_TOKENS_FILE
  value: /var/run/longshore/tokens
{{- with include "longshore.tlsEnv" (list $root "LONGSHORE_TLS_DIR") }}
{{ . }}
{{- end }}
- name: LONGSHORE_NAMESPACE
  {{- include "longshore.podNamespace" $root | nindent 2 }}
- name: LONGSHORE_DRAIN_SECONDS
  value: {{ int $pool.drainSeconds | quote }}
- name: LONGSHORE_GRACE_SECONDS
  value: {{ int $pool.graceSeconds | quote }}
{{- if $root.Values.api.enabled }}
- name: POD_NAMESPACE
  {{- include "longshore.podNamespace" $root | nindent 2 }}
- name: LONGSHORE_API_URL
  value: {{ printf "%s://%s-api.$(POD_NAMESPACE)%s:%d" (include "longshore.scheme" $root) (include "longshore.fullname" $root) (ternary ".svc" "" $root.Values.tls.enabled) (int $root.Values.api.service.port) | quote }}
{{- end }}
- name: LONGSHORE_LOG_FORMAT
  value: json
- name: LONGSHORE_LOG_LEVEL
  value: {{ $pool.logLevel }}
{{- with include "longshore.resultsEnv" $root }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Variables of a container: the chart's, but for those that the user says, and then the user's. Takes (list extra chart), where the
chart's are the text of a YAML list. */}}
{{- define "longshore.env" -}}
{{- $names := list -}}
{{- range first . -}}{{- $names = append $names .name -}}{{- end -}}
{{- $all := list -}}
{{- range last . | fromYamlArray -}}
{{- if not (has .name $names) -}}{{- $all = append $all . -}}{{- end -}}
{{- end -}}
{{- concat $all (first .) | toYaml -}}
{{- end -}}
