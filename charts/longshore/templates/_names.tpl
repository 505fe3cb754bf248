{{/* Name of the release's objects. The release's name is unique in its namespace, so nothing is put before or behind it. What is
too long for the longest suffix (27 characters) within the 63 of a label, or no name for a Service, is made one, and its sum
keeps two such names apart. */}}
{{- define "longshore.fullname" -}}
{{- $name := default .Release.Name .Values.fullnameOverride -}}
{{- if regexMatch "^[a-z]([-a-z0-9]{0,34}[a-z0-9])?$" $name -}}
{{- $name -}}
{{- else -}}
{{- $fit := regexReplaceAll "^[^a-z]" (replace "." "-" $name) "r" -}}
{{- printf "%s-%s" (trunc 27 $fit | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* Name of a cluster-wide object: no other release in any namespace can come to the same. Takes (list . "operator"). */}}
{{- define "longshore.clusterName" -}}
{{- $root := first . -}}
{{- printf "longshore:%s:%s:%s" $root.Release.Namespace (include "longshore.fullname" $root) (last .) -}}
{{- end -}}

{{/* What a selector says; never changes, because a Deployment's cannot. Takes (list . "operator" …). */}}
{{- define "longshore.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: longshore
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object. Takes (list . "operator"). */}}
{{- define "longshore.labels" -}}
{{- $root := first . -}}
{{- with $root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/part-of: longshore
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of a pod: no version, or every upgrade of the chart would start all workers anew. Takes (list . "operator" podLabels). */}}
{{- define "longshore.podLabels" -}}
{{- $root := first . -}}
{{- with $root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{- with last . }}
{{- toYaml . }}
{{ end -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/part-of: longshore
{{- end -}}

{{/* Metadata of an object in the release's namespace. Takes (list . "suffix" "component"). */}}
{{- define "longshore.metadata" -}}
{{- $root := first . -}}
name: {{ include "longshore.fullname" $root }}-{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "longshore.labels" (list $root (last .)) | nindent 2 }}
{{- end -}}

{{/* An image as a container names it. Takes (list . image fallback), where the fallback fills in what the image leaves out. */}}
{{- define "longshore.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}{{- $fallback := index . 2 -}}
{{- $registry := default $fallback.registry $image.registry -}}
{{- $repository := default $fallback.repository $image.repository -}}
{{- $tag := $image.tag -}}{{- $digest := $image.digest -}}
{{- if not $image.repository -}}
{{- $tag = default $fallback.tag $tag -}}{{- $digest = default $fallback.digest $digest -}}
{{- end -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- $repository -}}
{{- if $digest -}}@{{ $digest }}{{- else -}}:{{ default $root.Chart.AppVersion $tag }}{{- end -}}
{{- end -}}

{{/* Secret with the token between operator, api and workers. */}}
{{- define "longshore.tokenSecret" -}}
{{- default (printf "%s-worker-token" (include "longshore.fullname" .)) .Values.workerToken.existingSecret -}}
{{- end -}}

{{/* Namespaces whose jobs are run, as a JSON list; only for scope namespaced. */}}
{{- define "longshore.namespaces" -}}
{{- default (list .Release.Namespace) .Values.watchNamespaces | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* "true" when a kind of another project may be rendered. Takes (list . "group/version/Kind" renderMode). */}}
{{- define "longshore.may" -}}
{{- $root := index . 0 -}}{{- $kind := index . 1 -}}{{- $mode := index . 2 -}}
{{- if or (eq $mode "alwaysRender") ($root.Capabilities.APIVersions.Has $kind) -}}
true
{{- else if eq $mode "failIfMissing" -}}
{{- fail (printf "the cluster has no %s, and renderMode is failIfMissing: install prometheus-operator's CRDs, or set renderMode to skipIfMissing" $kind) -}}
{{- end -}}
{{- end -}}
