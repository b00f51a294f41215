{{/* What the program is told: its configuration file, and the secrets beside it. */}}

{{/*
The configuration of a component as sections. Takes root, role, config (the component's own settings) and, for workers,
provider and runtimeLibrary. What the chart sets stands above what the user says; the schema keeps the two apart.
*/}}
{{- define "visavis.settings" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $user := mergeOverwrite (deepCopy $v.config) (deepCopy (.config | default dict)) -}}
{{- $redis := dict -}}
{{- if include "visavis.redis.caSecret" $root -}}
{{- $_ := set $redis "tls_ca_file" (printf "/run/secrets/visavis/redis/%s" $v.externalRedis.caKey) -}}
{{- end -}}
{{- $models := dict -}}
{{- if ne .role "gateway" -}}
{{- $models = dict "cache_dir" "/models" "offline" true -}}
{{- end -}}
{{- with .runtimeLibrary -}}
{{- $_ := set $models "runtime_library" . -}}
{{- end -}}
{{- $gateway := dict -}}
{{- if eq .role "gateway" -}}
{{- $gateway = dict "listen" "0.0.0.0:8443" "admin_key_file" (printf "/run/secrets/visavis/admin/%s" $v.secrets.adminKey.key) -}}
{{- end -}}
{{- if and (eq .role "gateway") $v.gateway.tls.existingSecret -}}
{{- $_ := set $gateway "tls_cert_file" "/run/secrets/visavis/tls/tls.crt" -}}
{{- $_ := set $gateway "tls_key_file" "/run/secrets/visavis/tls/tls.key" -}}
{{- end -}}
{{- $own := dict
  "admin" (dict "listen" "0.0.0.0:9090")
  "gateway" $gateway
  "models" $models
  "queue" (dict "engine" "redis")
  "redis" $redis
  "store" (dict "engine" "redis" "data_dir" "/data")
  "telemetry" (dict "format" "json")
-}}
{{- if .provider -}}
{{- $_ := set $own "worker" (dict "provider" .provider) -}}
{{- end -}}
{{- if eq .role "trainer" -}}
{{- $_ := set $own "trainer" (dict "scratch_dir" "/scratch") -}}
{{- end -}}
{{- if $v.secrets.sealing.existingSecret -}}
{{- $_ := set $own "sealing" (dict "key_file" (printf "/run/secrets/visavis/sealing/%s" $v.secrets.sealing.key)) -}}
{{- end -}}
{{- with $v.objects -}}
{{- if .url -}}
{{- $objects := dict "url" .url "region" .region "allow_http" .allowHttp "secret_key_file" (printf "/run/secrets/visavis/objects/%s" .secretKeyKey) -}}
{{- with .endpoint }}{{- $_ := set $objects "endpoint" . -}}{{- end -}}
{{- if .caSecret }}{{- $_ := set $objects "tls_ca_file" (printf "/run/secrets/visavis/objects-ca/%s" .caKey) -}}{{- end -}}
{{- $_ := set $own "objects" $objects -}}
{{- end -}}
{{- end -}}
{{- mergeOverwrite $user $own | toYaml -}}
{{- end -}}

{{/*
The data of a ConfigMap: the file, and one for the init container, which needs nothing but [models] and is told no secret.
Takes what "visavis.settings" takes.
*/}}
{{- define "visavis.configData" -}}
{{- $settings := include "visavis.settings" . | fromYaml -}}
visavis.toml: |
  # Made by the chart: change its values, not this. `visavis config print --config FILE` shows all there is.
  {{- include "visavis.toml" $settings | trim | nindent 2 }}
{{- if and (ne .role "gateway") (eq .root.Values.models.source "fetch") }}
models.toml: |
  {{- include "visavis.toml" (dict "models" (set $settings.models "offline" false)) | trim | nindent 2 }}
{{- end }}
{{- end -}}

{{/* How long a process may take to drain, in whole seconds. Takes root and config. */}}
{{- define "visavis.graceSeconds" -}}
{{- $merged := mergeOverwrite (deepCopy .root.Values.config) (deepCopy (.config | default dict)) -}}
{{- $ms := dig "shutdown" "grace_ms" 20000 $merged -}}
{{- div (add (int64 $ms) 999) 1000 -}}
{{- end -}}

{{/* Variables that come from secrets. Takes root. */}}
{{- define "visavis.secretEnv" -}}
{{- $v := .root.Values -}}
{{- $redis := include "visavis.redis" .root | fromYaml -}}
{{- if and $redis.passwordSecret (not $redis.urlKey) }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ $redis.passwordSecret }}, key: {{ $redis.passwordKey }}}
{{- end }}
- name: VISAVIS__REDIS__URL
{{- if $redis.urlKey }}
  valueFrom:
    secretKeyRef: {name: {{ $redis.urlSecret }}, key: {{ $redis.urlKey }}}
{{- else }}
  value: {{ $redis.url | quote }}
{{- end }}
{{- if $v.objects.url }}
- name: VISAVIS__OBJECTS__ACCESS_KEY
  valueFrom:
    secretKeyRef: {name: {{ $v.objects.existingSecret }}, key: {{ $v.objects.accessKeyKey }}}
{{- end }}
{{- end -}}
