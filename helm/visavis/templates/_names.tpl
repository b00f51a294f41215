{{/* Names and labels. */}}

{{- define "visavis.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that what is added to it still fits into 63. */}}
{{- define "visavis.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "visavis.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "visavis.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "visavis.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a component; never changes. Takes root and component, for workers also class. */}}
{{- define "visavis.selector" -}}
app.kubernetes.io/name: {{ include "visavis.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .class }}
visavis/worker-class: {{ . }}
{{- end }}
{{- end -}}

{{/* Labels of an object. Takes root and component, for workers also class. */}}
{{- define "visavis.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "visavis.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: visavis
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .class }}
visavis/worker-class: {{ . }}
{{- end }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* repository:tag or repository@digest. Takes root, and image over the top-level one. */}}
{{- define "visavis.image" -}}
{{- $base := .root.Values.image -}}
{{- $own := .image | default dict -}}
{{- $repository := $own.repository | default $base.repository -}}
{{- $digest := $own.digest | default (ternary $base.digest "" (eq $repository $base.repository)) -}}
{{- $tag := $own.tag | default $base.tag | default .root.Chart.AppVersion -}}
{{- if $digest -}}
{{- printf "%s@%s" $repository $digest -}}
{{- else -}}
{{- printf "%s:%s" $repository $tag -}}
{{- end -}}
{{- end -}}
