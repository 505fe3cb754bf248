{{/* The values as the templates read them. Every file begins with this; the first one does the work. `helm upgrade --reuse-values`
brings the values of the release before and none of this chart's, so what an older chart did not know is taken from
files/defaults.yaml, a copy of values.yaml. What a null means is said in docs/install.md. Renders nothing. */}}
{{- define "longshore.values" -}}
{{- if not (hasKey .Values "__whole") -}}
{{- $defaults := omit (.Files.Get "files/defaults.yaml" | fromYaml) "pools" -}}
{{- include "longshore.fill" (list .Values $defaults (ne (toString .Values.defaultsOf) $defaults.defaultsOf)) -}}
{{- $pools := dict -}}
{{- range $name, $pool := .Values.pools -}}
{{- if not (kindIs "invalid" $pool) -}}{{- $_ := set $pools $name $pool -}}{{- end -}}
{{- end -}}
{{- $_ := set .Values "pools" $pools -}}
{{- $_ := set .Values "__whole" true -}}
{{- end -}}
{{- end -}}

{{/* Maps whose keys are the user's, though the chart puts some in: a null takes the whole of one away. */}}
{{- define "longshore.freeMaps" -}}
["args", "containerSecurityContext", "podSecurityContext", "resources"]
{{- end -}}

{{/* Maps that go over others later, where a null takes something away: it has to last until then. */}}
{{- define "longshore.overMaps" -}}
["livenessProbe", "podSecurityContext", "readinessProbe", "securityContext", "startupProbe"]
{{- end -}}

{{/* "true" when a map of the chart has fixed keys. Takes (list name default). */}}
{{- define "longshore.fixed" -}}
{{- if and (kindIs "map" (last .)) (last .) (not (has (first .) (include "longshore.freeMaps" . | fromJsonArray))) -}}true{{- end -}}
{{- end -}}

{{/* Put in what is missing. Takes (list values defaults older), where older is whether the values are another chart version's. A
missing list or free map was taken away by a null, unless an older chart did not know it; anything else has to be something. */}}
{{- define "longshore.fill" -}}
{{- $values := index . 0 -}}{{- $older := index . 2 -}}
{{- range $key, $default := index . 1 -}}
{{- $given := index $values $key -}}
{{- if include "longshore.fixed" (list $key $default) -}}
{{- if kindIs "invalid" $given -}}
{{- $_ := set $values $key $default -}}
{{- else -}}
{{- include "longshore.fill" (list $given $default $older) -}}
{{- end -}}
{{- else if and (kindIs "map" $given) (not (has $key (include "longshore.overMaps" . | fromJsonArray | concat (list "args")))) -}}
{{- include "longshore.withoutNulls" $given -}}
{{- else if kindIs "invalid" $given -}}
{{- $isNew := and $older (not (hasKey $values $key)) -}}
{{- $_ := set $values $key (or $isNew (not (or (kindIs "map" $default) (kindIs "slice" $default))) | ternary $default (kindIs "map" $default | ternary dict list)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Take out of a map, in place, every key that is null. */}}
{{- define "longshore.withoutNulls" -}}
{{- $map := . -}}
{{- range $key := keys $map -}}
{{- $value := index $map $key -}}
{{- if kindIs "invalid" $value -}}{{- $_ := unset $map $key -}}
{{- else if kindIs "map" $value -}}{{- include "longshore.withoutNulls" $value -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Put one map over another, deeply, in place. Lists and everything that is no map replace; so do false, 0 and the empty text. A null
takes back: what the chart itself says comes again, and a key that it does not know goes. Takes (list base over defaults). */}}
{{- define "longshore.over" -}}
{{- $base := index . 0 -}}{{- $defaults := index . 2 -}}
{{- range $key, $value := index . 1 -}}
{{- $default := index $defaults $key -}}
{{- if kindIs "invalid" $value -}}
{{- if not (hasKey $defaults $key) -}}
{{- $_ := unset $base $key -}}
{{- else if or (include "longshore.fixed" (list $key $default)) (not (or (kindIs "map" $default) (kindIs "slice" $default))) -}}
{{- $_ := set $base $key $default -}}
{{- else -}}
{{- $_ := set $base $key (kindIs "map" $default | ternary dict list) -}}
{{- end -}}
{{- else if kindIs "map" $value -}}
{{- if not (kindIs "map" (index $base $key)) -}}{{- $_ := set $base $key dict -}}{{- end -}}
{{- if has $key (include "longshore.overMaps" . | fromJsonArray) -}}
{{- range $name, $word := $value -}}{{- $_ := set (index $base $key) $name $word -}}{{- end -}}
{{- else -}}
{{- $below := include "longshore.fixed" (list $key $default) | eq "true" | ternary $default dict -}}
{{- include "longshore.over" (list (index $base $key) $value $below) -}}
{{- end -}}
{{- else -}}
{{- $_ := set $base $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The same as JSON, with neither changed. Takes (list base over). */}}
{{- define "longshore.merged" -}}
{{- $base := deepCopy (first .) -}}
{{- include "longshore.over" (list $base (last .) dict) -}}
{{- include "longshore.withoutNulls" $base -}}
{{- $base | toJson -}}
{{- end -}}
