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
        args: [{{ include "longshore.tokenSecret" . | quote }}, {{ .Values.workerToken.key | quote }}, {{ .Values.workerToken.operatorKey | quote }}]
        resources:
          requests:
            cpu: 50m
            memory: 64Mi
          limits:
            memory: 128Mi
        {{- include "longshore.containerSecurity" . | nindent 8 }}
    {{- include "longshore.placement" (list .Values.operator "") | trim | nindent 4 }}
{{- end -}}
