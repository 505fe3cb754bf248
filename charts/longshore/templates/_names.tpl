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
app.kubernetes.io/name: {{ default "longshore" $root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 | quote }}
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
app.kubernetes.io/managed-by: {{ $root.Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{/* Labels of a pod: no version, or every upgrade of the chart would start all workers anew. Takes (list . "operator" podLabels). */}}
{{- define "longshore.podLabels" -}}
{{- $root := first . -}}
{{- with merge (deepCopy (last .)) $root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/part-of: longshore
{{- end -}}

{{/* Name of an object in the release's namespace, in quotes: a release may be called 2024. Takes (list . "suffix"). */}}
{{- define "longshore.name" -}}
{{- printf "%s-%s" (include "longshore.fullname" (first .)) (last .) | quote -}}
{{- end -}}

{{/* Annotations of an object, with its own before those of all; nothing where there are none. Takes (list . own). */}}
{{- define "longshore.annotations" -}}
{{- with merge (deepCopy (last .)) (first .).Values.commonAnnotations -}}
annotations: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Metadata of an object in the release's namespace; labels are last, so that others may follow. Takes (list . "suffix" "component"), and
annotations after them. */}}
{{- define "longshore.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "longshore.name" (list $root (index . 1)) }}
namespace: {{ $root.Release.Namespace | quote }}
{{- with include "longshore.annotations" (list $root (gt (len .) 3 | ternary (last .) dict)) }}
{{ . }}
{{- end }}
labels:
  {{- include "longshore.labels" (list $root (index . 2)) | nindent 2 }}
{{- end -}}

{{/* The same of a cluster-wide object. */}}
{{- define "longshore.clusterMetadata" -}}
{{- $root := index . 0 -}}
name: {{ include "longshore.clusterName" (list $root (index . 1)) | quote }}
{{- with include "longshore.annotations" (list $root dict) }}
{{ . }}
{{- end }}
labels:
  {{- include "longshore.labels" (list $root (index . 2)) | nindent 2 }}
{{- end -}}

{{/* The subject of a binding. Takes (list . "account"), the account's whole name. */}}
{{- define "longshore.subject" -}}
- kind: ServiceAccount
  name: {{ last . | quote }}
  namespace: {{ (first .).Release.Namespace | quote }}
{{- end -}}

{{/* Name of a component's account: the user's, or the chart's. Takes (list . values "suffix"). */}}
{{- define "longshore.account" -}}
{{- default (printf "%s-%s" (include "longshore.fullname" (first .)) (last .)) (index . 1).serviceAccountName -}}
{{- end -}}

{{/* An image as a container names it. Takes (list . image fallback), where the fallback fills in what the image leaves out; a tag and a
digest belong together. */}}
{{- define "longshore.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}{{- $fallback := index . 2 -}}
{{- $registry := default $fallback.registry $image.registry -}}
{{- $repository := default $fallback.repository $image.repository -}}
{{- $tag := $image.tag -}}{{- $digest := $image.digest -}}
{{- if not (or $image.repository $tag $digest) -}}
{{- $tag = $fallback.tag -}}{{- $digest = $fallback.digest -}}
{{- end -}}
{{- with default $registry $root.Values.global.imageRegistry }}{{ . }}/{{ end -}}
{{- $repository -}}
{{- if or $tag (not $digest) }}:{{ default $root.Chart.AppVersion $tag }}{{ end -}}
{{- with $digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Secret with the token between operator, api and workers. */}}
{{- define "longshore.tokenSecret" -}}
{{- default (printf "%s-worker-token" (include "longshore.fullname" .)) .Values.workerToken.existingSecret -}}
{{- end -}}

{{/* Namespaces whose jobs are run, as a JSON list; only for scope namespaced. */}}
{{- define "longshore.namespaces" -}}
{{- default (list .Release.Namespace) .Values.watchNamespaces | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Who the operator is in the markers of its namespaces. kustomize changes neither this nor the markers' text. */}}
{{- define "longshore.owner" -}}
{{- printf "%s/%s" .Release.Namespace (include "longshore.name" (list . "operator")) -}}
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
