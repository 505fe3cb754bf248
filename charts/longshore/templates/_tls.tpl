{{/* TLS: Secrets, folders and names, where it is enabled. */}}

{{/* The Secret of a component. Takes (list . "operator"), "api" or "workers". */}}
{{- define "longshore.tlsSecret" -}}
{{- $tls := (first .).Values.tls -}}
{{- default $tls.secretName (index $tls (printf "%sSecretName" (last .))) -}}
{{- end -}}

{{/* "https" or "http". */}}
{{- define "longshore.scheme" -}}
{{- ternary "https" "http" .Values.tls.enabled -}}
{{- end -}}

{{/* The volume with the certificate; the kubelet renews its files. Workers believe nobody, so they need no authority. Takes the same. */}}
{{- define "longshore.tlsVolume" -}}
{{- if (first .).Values.tls.enabled -}}
- name: longshore-tls
  secret:
    secretName: {{ include "longshore.tlsSecret" . | quote }}
    defaultMode: 0440
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
      {{- if ne (last .) "workers" }}
      - key: ca.crt
        path: ca.crt
      {{- end }}
{{- end -}}
{{- end -}}

{{/* Where it is mounted. */}}
{{- define "longshore.tlsMount" -}}
{{- if .Values.tls.enabled -}}
- name: longshore-tls
  mountPath: /var/run/longshore-tls
  readOnly: true
{{- end -}}
{{- end -}}

{{/* And the setting that says so. Takes (list . "VARIABLE"). */}}
{{- define "longshore.tlsEnv" -}}
{{- if (first .).Values.tls.enabled -}}
- name: {{ last . }}
  value: /var/run/longshore-tls
{{- end -}}
{{- end -}}

{{/* A probe of a port that speaks TLS when it is enabled; the kubelet does not look at the certificate. Takes (list . "path" "port" base over). */}}
{{- define "longshore.tlsProbe" -}}
{{- $base := deepCopy (index . 3) -}}
{{- if (first .).Values.tls.enabled -}}{{- $_ := set $base "httpGet" (dict "scheme" "HTTPS") -}}{{- end -}}
{{- include "longshore.probe" (list (index . 1) (index . 2) $base (last .)) -}}
{{- end -}}

{{/* How a component is scraped. Takes (list . "operator"), "api" or "worker". */}}
{{- define "longshore.scrapeTls" -}}
{{- $root := first . -}}{{- $component := ternary "workers" (last .) (eq (last .) "worker") -}}
{{- if $root.Values.tls.enabled -}}
scheme: https
tlsConfig:
  ca:
    secret:
      {{- /* That of the operator: workers' Secrets need no authority. */}}
      name: {{ include "longshore.tlsSecret" (list $root (ternary "api" "operator" (eq $component "api"))) | quote }}
      key: ca.crt
  {{- if eq $component "api" }}
  serverName: {{ printf "%s-api.%s.svc" (include "longshore.fullname" $root) $root.Release.Namespace | quote }}
  {{- else }}
  serverName: {{ printf "longshore-%s.%s.svc" $component $root.Release.Namespace | quote }}
  {{- end }}
{{- end -}}
{{- end -}}
