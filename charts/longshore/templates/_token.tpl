{{/* Spec of the Job that makes the token. */}}
{{- define "longshore.tokenJobSpec" -}}
backoffLimit: 10
activeDeadlineSeconds: 600
template:
  metadata:
    labels:
      {{- include "longshore.podLabels" (list . "worker-token" dict) | nindent 6 }}
  spec:
    serviceAccountName: {{ include "longshore.fullname" . }}-worker-token
    automountServiceAccountToken: true
    restartPolicy: Never
    {{- include "longshore.everyPod" . | nindent 4 }}
    containers:
      - name: worker-token
        image: {{ include "longshore.image" (list . .Values.operator.image .Values.image) }}
        imagePullPolicy: {{ .Values.operator.image.pullPolicy }}
        command: [python, -m, longshore_operator.worker_token]
        args: [{{ include "longshore.tokenSecret" . }}, {{ .Values.workerToken.key }}, {{ .Values.workerToken.operatorKey }}]
        resources:
          requests:
            cpu: 50m
            memory: 64Mi
          limits:
            memory: 128Mi
        {{- include "longshore.containerSecurity" . | nindent 8 }}
    {{- with .Values.operator.nodeSelector }}
    nodeSelector: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.operator.tolerations }}
    tolerations: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end -}}
