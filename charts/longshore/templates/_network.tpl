{{/* What NetworkPolicies let out. */}}
{{/* DNS wherever clusters have it: pods of kube-dns and CoreDNS, those of the cache on each node and its link-local address, and
OpenShift's, which listen on 5353. Takes the root. */}}
{{- define "longshore.dns" -}}
{{- $values := .Values.networkPolicy.dns -}}
- to:
    - namespaceSelector: {}
      podSelector:
        matchExpressions:
          - {key: k8s-app, operator: In, values: [kube-dns, coredns, node-local-dns]}
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: openshift-dns
    {{- range $values.addresses }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
    {{- with $values.to }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- range $port := $values.ports }}
    - {protocol: UDP, port: {{ $port }}}
    - {protocol: TCP, port: {{ $port }}}
    {{- end }}
{{- end }}
{{/* Webhooks are sent by the operator, to wherever jobs say: which addresses those may be is the operator's own rule. */}}
{{- define "longshore.toWebhooks" -}}
{{- with .Values.networkPolicy.webhookPorts -}}
- ports:
    {{- range . }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}
{{- end }}
{{- define "longshore.apiServer" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{/* Workers of the release's namespace. */}}
{{- define "longshore.toOwnWorkers" -}}
- to:
    - podSelector:
        matchExpressions:
          - {key: longshore.dev/pool, operator: Exists}
{{- end }}
{{/* Those and the ones of the pool namespaces that the operator follows. */}}
{{- define "longshore.toWorkers" -}}
{{- include "longshore.toOwnWorkers" . }}
    {{- with keys .Values.operator.poolNamespaces | sortAlpha }}
    - namespaceSelector:
        matchExpressions:
          - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
      podSelector:
        matchExpressions:
          - {key: longshore.dev/pool, operator: Exists}
    {{- end }}
{{- end }}
