{{/* Helm's own toToml writes whole numbers as floats, which the program refuses. */}}

{{/* A value: inline, whatever it is. */}}
{{- define "visavis.toml.value" -}}
{{- if kindIs "map" . -}}
{ {{- range $i, $k := keys . | sortAlpha }}{{ if $i }},{{ end }} {{ $k | toJson }} = {{ include "visavis.toml.value" (get $ $k) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $i, $v := . }}{{ if $i }}, {{ end }}{{ include "visavis.toml.value" $v }}{{ end }}]
{{- else if kindIs "float64" . -}}
{{- if eq . (floor .) -}}{{ printf "%.0f" . }}{{- else -}}{{ printf "%v" . }}{{- end -}}
{{- else if kindIs "string" . -}}
{{ . | toRawJson }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{/* Sections with their keys, in order. */}}
{{- define "visavis.toml" -}}
{{- range $section := keys . | sortAlpha }}
{{- $keys := get $ $section }}
{{- if $keys }}
[{{ $section }}]
{{- range $key := keys $keys | sortAlpha }}
{{ $key }} = {{ include "visavis.toml.value" (get $keys $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
