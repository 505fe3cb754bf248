{{/* A pool with everything that it does not say itself, as JSON. Takes (list . name). */}}
{{- define "longshore.pool" -}}
{{- $root := first . -}}
{{- mergeOverwrite (deepCopy $root.Values.poolDefaults) (deepCopy (index $root.Values.pools (last .))) | toJson -}}
{{- end -}}

{{- define "longshore.poolSelector" -}}
{{ include "longshore.selector" (list (first .) "worker") }}
longshore.dev/pool: {{ last . }}
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
