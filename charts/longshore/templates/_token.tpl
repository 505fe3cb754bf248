{{/* Whose pods are workers, as the operator's setting says it: the release's own namespace with all that its pools serve, and others by name. */}}
{{- define "longshore.poolNamespaces" -}}
{{- $served := list -}}
{{- range $name := keys .Values.pools | sortAlpha -}}
{{- $served = concat $served (include "longshore.pool" (list $ $name) | fromJson).servesNamespaces -}}
{{- end -}}
{{- $entries := list (printf "$(POD_NAMESPACE)=%s" (join "|" ($served | uniq))) -}}
{{- range $namespace := keys .Values.operator.poolNamespaces | sortAlpha -}}
{{- $entries = append $entries (printf "%s=%s" $namespace (join "|" (get $.Values.operator.poolNamespaces $namespace))) -}}
{{- end -}}
{{- join ", " $entries -}}
{{- end -}}

{{/* Whether the operator has a root secret: in the chart's own Secret always, in another one where it is needed. */}}
{{- define "longshore.rootSecret" -}}
{{- if or (not .Values.workerToken.existingSecret) .Values.operator.poolNamespaces -}}yes{{- end -}}
{{- end -}}

{{/* Spec of the Job that makes the token. */}}
{{- define "longshore.tokenJobSpec" -}}
backoffLimit: 10
activeDeadlineSeconds: 600
template:
  metadata:
    labels:
      {{- include "longshore.podLabels" (list . "worker-token" dict) | nindent 6 }}
  spec:
    serviceAccountName: {{ include "longshore.name" (list . "worker-token") }}
    automountServiceAccountToken: true
    restartPolicy: Never
    {{- include "longshore.everyPod" . | nindent 4 }}
    containers:
      - name: worker-token
        image: {{ include "longshore.image" (list . .Values.operator.image .Values.image) | quote }}
        imagePullPolicy: {{ .Values.operator.image.pullPolicy }}
        command: [python, -m, longshore_operator.worker_token]
        args: [{{ include "longshore.tokenSecret" . | quote }}, {{ .Values.workerToken.key | quote }}, {{ .Values.workerToken.operatorKey | quote }}, {{ .Values.workerToken.rootKey | quote }}]
        resources:
          requests:
            cpu: 50m
            memory: 64Mi
          limits:
            memory: 128Mi
        {{- include "longshore.containerSecurity" . | nindent 8 }}
    {{- include "longshore.placement" (list .Values.operator "") | trim | nindent 4 }}
{{- end -}}
