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
{{/* Workers anywhere: a pool of another namespace belongs to another release. */}}
{{- define "longshore.toWorkers" -}}
- to:
    - namespaceSelector: {}
      podSelector:
        matchExpressions:
          - {key: longshore.dev/pool, operator: Exists}
{{- end }}
