{{/* Rules that several policies have. Each is one named flow. */}}

{{- define "visavis.flow.dns" -}}
# Names are resolved.
- to: {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- define "visavis.flow.metrics" -}}
# Prometheus scrapes. The kubelet's probes come from the node, which no policy keeps out.
- from: {{- toYaml .Values.networkPolicy.monitoringFrom | nindent 4 }}
  ports:
    - {protocol: TCP, port: admin}
{{- end -}}

{{- define "visavis.flow.redis" -}}
{{- $n := .Values.networkPolicy -}}
# Queue and store.
{{- if .Values.redis.enabled }}
- to:
    - podSelector:
        matchLabels: {{- include "visavis.selector" (dict "root" . "component" "redis") | nindent 10 }}
  ports:
    - {protocol: TCP, port: redis}
{{- else }}
- ports:
    {{- $ports := list -}}
    {{- range .Values.externalRedis.addresses }}{{ $ports = append $ports (splitList ":" . | last | int) }}{{ end -}}
    {{- range concat $ports $n.redisPorts | uniq }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
    {{- if not (concat $ports $n.redisPorts) }}
    - {protocol: TCP, port: 6379}
    {{- end }}
  {{- with $n.redisTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "visavis.flow.objects" -}}
{{- if .Values.objects.url -}}
{{- $port := 443 -}}
{{- with .Values.objects.endpoint -}}
{{- $url := urlParse . -}}
{{- $port = ternary 80 443 (eq $url.scheme "http") -}}
{{- if contains ":" $url.host }}{{ $port = splitList ":" $url.host | last | int }}{{ end -}}
{{- end -}}
# Crops.
- ports:
    - {protocol: TCP, port: {{ $port }}}
  {{- with .Values.networkPolicy.objectsTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "visavis.flow.models" -}}
{{- if eq .Values.models.source "fetch" -}}
# The init container fetches model files.
- ports:
    - {protocol: TCP, port: 443}
  {{- with .Values.networkPolicy.modelsTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}
