{{/* A pool with everything that it does not say itself, as JSON. Takes (list . name). */}}
{{- define "longshore.pool" -}}
{{- $root := first . -}}
{{- $pool := deepCopy $root.Values.poolDefaults -}}
{{- $defaults := ($root.Files.Get "files/defaults.yaml" | fromYaml).poolDefaults -}}
{{- include "longshore.over" (list $pool (index $root.Values.pools (last .)) $defaults) -}}
{{- $pool | toJson -}}
{{- end -}}

{{- define "longshore.poolSelector" -}}
{{ include "longshore.selector" (list (first .) "worker") }}
longshore.dev/pool: {{ last . | quote }}
{{- end -}}

{{/* What the operator reads of a pool: the pods' annotations say whom they serve, the Deployment's how many there may be. */}}
{{- define "longshore.poolAnnotations" -}}
{{- with .queues }}
longshore.dev/queues: {{ join "," . | quote }}
{{- end }}
{{- with .servesNamespaces }}
longshore.dev/serves-namespaces: {{ join "," . | quote }}
{{- end }}
{{- end -}}

{{/* How the operator scales a pool: docs/scaling.md. Nothing where somebody else does. */}}
{{- define "longshore.scalingAnnotations" -}}
{{- if and (not (kindIs "invalid" .maxWorkers)) (eq .autoscaling.mode "operator") }}
longshore.dev/min-workers: {{ int .minWorkers | quote }}
longshore.dev/max-workers: {{ int .maxWorkers | quote }}
{{- with .autoscaling }}
longshore.dev/target-wait-seconds: {{ .targetWaitSeconds | quote }}
longshore.dev/headroom-slots: {{ int .headroomSlots | quote }}
longshore.dev/scale-down-window-seconds: {{ .scaleDownWindowSeconds | quote }}
longshore.dev/idle-seconds: {{ .idleSeconds | quote }}
longshore.dev/scale-up-workers: {{ int .scaleUpWorkers | quote }}
longshore.dev/scale-up-percent: {{ int .scaleUpPercent | quote }}
longshore.dev/scale-down-percent: {{ int .scaleDownPercent | quote }}
longshore.dev/prewarm-seconds: {{ .prewarmSeconds | quote }}
longshore.dev/unschedulable-seconds: {{ .unschedulableSeconds | quote }}
{{- end }}
{{- end }}
{{- end -}}
