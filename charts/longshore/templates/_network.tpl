{{/* What NetworkPolicies let out. */}}
{{- define "longshore.dns" -}}
- to:
    - namespaceSelector: {}
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
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
