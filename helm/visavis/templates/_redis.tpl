{{/* Where the shared server is. */}}

{{- define "visavis.redis.name" -}}
{{ include "visavis.fullname" . }}-redis
{{- end -}}

{{/* Name of the secret with the certificate to trust, if there is one. */}}
{{- define "visavis.redis.caSecret" -}}
{{- if not .Values.redis.enabled -}}{{ .Values.externalRedis.caSecret }}{{- end -}}
{{- end -}}

{{/* url or urlSecret and urlKey; passwordSecret and passwordKey; addresses, mode, username, tls. */}}
{{- define "visavis.redis" -}}
{{- $r := dict -}}
{{- if .Values.redis.enabled -}}
{{- $address := printf "%s:6379" (include "visavis.redis.name" .) -}}
{{- $r = dict "addresses" (list $address) "mode" "standalone" "tls" false "username" "" -}}
{{- with .Values.redis.existingSecret -}}
{{- $r = merge $r (dict "passwordSecret" . "passwordKey" $.Values.redis.passwordKey) -}}
{{- end -}}
{{- else -}}
{{- $e := .Values.externalRedis -}}
{{- $r = dict "addresses" $e.addresses "mode" $e.mode "tls" $e.tls "username" $e.username "sentinelMaster" $e.sentinelMaster -}}
{{- if $e.urlKey -}}
{{- $r = merge $r (dict "urlSecret" $e.existingSecret "urlKey" $e.urlKey) -}}
{{- end -}}
{{- if and $e.existingSecret $e.passwordKey -}}
{{- $r = merge $r (dict "passwordSecret" $e.existingSecret "passwordKey" $e.passwordKey) -}}
{{- end -}}
{{- end -}}
{{- $scheme := printf "%s%s" (ternary "rediss" "redis" $r.tls) (get (dict "standalone" "" "sentinel" "-sentinel" "cluster" "-cluster") $r.mode) -}}
{{- $login := "" -}}
{{- if $r.passwordSecret -}}
{{- $login = printf "%s:$(REDIS_PASSWORD)@" $r.username -}}
{{- end -}}
{{- $path := ternary (printf "/%s" ($r.sentinelMaster | default "")) "" (eq $r.mode "sentinel") -}}
{{- $_ := set $r "url" (printf "%s://%s%s%s" $scheme $login (join "," $r.addresses) $path) -}}
{{- $r | toYaml -}}
{{- end -}}
