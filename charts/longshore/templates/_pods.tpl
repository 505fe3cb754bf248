{{/* What every pod has: nobody's root, no link to any other Service, and the way to its image. */}}
{{- define "longshore.everyPod" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* What every container is. */}}
{{- define "longshore.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Where pods run. Takes (list values selector). */}}
{{- define "longshore.placement" -}}
{{- $values := first . -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
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
{{- end -}}

{{/* The tokens' volume. A pod waits for the keys, so nothing starts before the tokens are there. Takes (list . asksOperator). */}}
{{- define "longshore.tokenVolume" -}}
{{- $root := first . -}}
- name: worker-token
  secret:
    secretName: {{ include "longshore.tokenSecret" $root }}
    defaultMode: 0440
    items:
      - key: {{ $root.Values.workerToken.key }}
        path: tokens
      {{- if last . }}
      - key: {{ $root.Values.workerToken.operatorKey }}
        path: operator
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
    claimName: {{ . }}
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
