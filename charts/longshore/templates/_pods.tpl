{{/* What every pod has: nobody's root, no link to any other Service, and the way to its image. */}}
{{- define "longshore.everyPod" -}}
{{- include "longshore.pod" (list . dict) -}}
{{- end -}}

{{/* The same with what a component wants otherwise. Takes (list . values). */}}
{{- define "longshore.pod" -}}
{{- $root := first . -}}{{- $values := last . -}}
enableServiceLinks: false
{{- with include "longshore.pullSecrets" $root | fromJsonArray }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "longshore.merged" (list $root.Values.podSecurityContext (default dict $values.podSecurityContext)) | fromJson }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- if kindIs "bool" $values.hostUsers }}
hostUsers: {{ $values.hostUsers }}
{{- end }}
{{- with $values.hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with $values.dnsConfig }}
dnsConfig: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.initContainers }}
initContainers: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Secrets for registries, as a JSON list: the chart's own, then those of a chart that this one is a part of, which may be names alone. */}}
{{- define "longshore.pullSecrets" -}}
{{- $found := list -}}
{{- range concat .Values.imagePullSecrets (default list .Values.global.imagePullSecrets) -}}
{{- $found = append $found (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- $found | uniq | toJson -}}
{{- end -}}

{{/* What every container is. */}}
{{- define "longshore.containerSecurity" -}}
{{- include "longshore.container" (list . dict) -}}
{{- end -}}

{{/* The same with what a component wants otherwise. Takes (list . values). */}}
{{- define "longshore.container" -}}
securityContext:
  {{- include "longshore.merged" (list (first .).Values.containerSecurityContext (default dict (last .).securityContext)) | fromJson | toYaml | nindent 2 }}
{{- end -}}

{{/* A probe, with what a component wants otherwise. Takes (list "path" "port" base over). */}}
{{- define "longshore.probe" -}}
{{- $get := dict "httpGet" (dict "path" (index . 0) "port" (index . 1)) -}}
{{- include "longshore.merged" (list (merge $get (index . 2)) (last .)) | fromJson | toYaml -}}
{{- end -}}

{{/* How a Deployment changes its pods. Takes (list values strategy), the chart's own as a dict. */}}
{{- define "longshore.strategy" -}}
{{- with default (last .) (first .).strategy }}
strategy: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (first .).minReadySeconds }}
minReadySeconds: {{ int . }}
{{- end }}
{{- end -}}

{{/* Where pods run. Takes (list values selector); without a selector nothing is said of their spread. */}}
{{- define "longshore.placement" -}}
{{- $values := first . -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if last . }}
topologySpreadConstraints:
{{- if $values.topologySpreadConstraints }}
{{- toYaml $values.topologySpreadConstraints | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- last . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end -}}

{{/* The tokens' volume. A pod waits for the keys, so nothing starts before the tokens are there. Takes (list . "worker"), "api" for who asks the operator too, or "operator". */}}
{{- define "longshore.tokenVolume" -}}
{{- $root := first . -}}
- name: worker-token
  secret:
    secretName: {{ include "longshore.tokenSecret" $root | quote }}
    defaultMode: 0440
    items:
      - key: {{ $root.Values.workerToken.key | quote }}
        path: tokens
      {{- if ne (last .) "worker" }}
      - key: {{ $root.Values.workerToken.operatorKey | quote }}
        path: operator
      {{- end }}
      {{- if and (eq (last .) "operator") (include "longshore.rootSecret" $root) }}
      - key: {{ $root.Values.workerToken.rootKey | quote }}
        path: root
      {{- end }}
{{- end -}}

{{/* Where it is mounted. */}}
{{- define "longshore.tokenMount" -}}
- name: worker-token
  mountPath: /var/run/longshore
  readOnly: true
{{- end -}}

{{/* The volume that workers and the api share. */}}
{{- define "longshore.resultsVolume" -}}
{{- with .Values.results.existingClaim -}}
- name: results
  persistentVolumeClaim:
    claimName: {{ . | quote }}
{{- end -}}
{{- end -}}

{{/* Where it is mounted. */}}
{{- define "longshore.resultsMount" -}}
{{- if .Values.results.existingClaim -}}
- name: results
  mountPath: /var/lib/longshore/results
{{- end -}}
{{- end -}}

{{/* And the setting that says so. */}}
{{- define "longshore.resultsEnv" -}}
{{- if .Values.results.existingClaim -}}
- name: LONGSHORE_RESULTS_DIR
  value: /var/lib/longshore/results
{{- end -}}
{{- end -}}

{{/* Spec of a PodDisruptionBudget. Takes (list pdb selector). */}}
{{- define "longshore.pdbSpec" -}}
maxUnavailable: {{ (first .).maxUnavailable }}
# A pod that is broken already must not hold up a node's drain.
unhealthyPodEvictionPolicy: AlwaysAllow
selector:
  matchLabels: {{- last . | nindent 4 }}
{{- end -}}
