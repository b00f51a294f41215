{{/* What the schema cannot say: values that need each other. Every message names the value and what to do. */}}
{{- define "visavis.checks" -}}
{{- $v := .Values -}}
{{- $mode := dig "sealing" "mode" "on" $v.config -}}
{{- $command := dig "sealing" "key_command" list $v.config -}}
{{- if and $v.redis.enabled (or $v.externalRedis.addresses $v.externalRedis.urlKey) -}}
{{- fail "redis.enabled and externalRedis exclude each other: choose the server that gateways and workers share" -}}
{{- end -}}
{{- if not (or $v.redis.enabled $v.externalRedis.addresses $v.externalRedis.urlKey) -}}
{{- fail "externalRedis.addresses: name the Redis or Valkey that gateways and workers share (for trying things out: redis.enabled=true)" -}}
{{- end -}}
{{- if and $v.externalRedis.urlKey (not $v.externalRedis.existingSecret) -}}
{{- fail "externalRedis.urlKey needs externalRedis.existingSecret, the secret that holds the URL" -}}
{{- end -}}
{{- if and (eq $v.externalRedis.mode "sentinel") $v.externalRedis.addresses (not $v.externalRedis.sentinelMaster) -}}
{{- fail "externalRedis.sentinelMaster: sentinels are asked for a primary by its name" -}}
{{- end -}}
{{- if not $v.secrets.adminKey.existingSecret -}}
{{- fail (printf "secrets.adminKey.existingSecret: name a secret with the first admin key, such as\n  kubectl create secret generic visavis-admin --namespace %s --from-literal=admin.key=vv_first_$(openssl rand -hex 24)" .Release.Namespace) -}}
{{- end -}}
{{- if and (eq $mode "on") (not $v.secrets.sealing.existingSecret) (not $command) -}}
{{- fail (printf "secrets.sealing.existingSecret: name a secret with the key that everything is sealed with, and keep a copy of it elsewhere:\n  kubectl create secret generic visavis-sealing --namespace %s --from-literal=sealing.key=$(openssl rand -hex 32)" .Release.Namespace) -}}
{{- end -}}
{{- if and $v.secrets.sealing.existingSecret (or $command (eq $mode "off")) -}}
{{- fail "secrets.sealing.existingSecret contradicts config.sealing: the key comes from one place, and sealing is on or off" -}}
{{- end -}}
{{- if and $v.objects.url (not $v.objects.existingSecret) -}}
{{- fail "objects.existingSecret: name the secret with the access key and the secret key of objects.url" -}}
{{- end -}}
{{- if and (hasPrefix "http://" $v.objects.endpoint) (not $v.objects.allowHttp) -}}
{{- fail "objects.endpoint is plain HTTP: take https, or set objects.allowHttp" -}}
{{- end -}}
{{- if and (eq $v.models.source "volume") (not $v.models.existingClaim) -}}
{{- fail "models.existingClaim: models.source=volume needs the claim that the files are on" -}}
{{- end -}}
{{- if and $v.trainer.enabled (not $v.objects.url) -}}
{{- fail "objects.url: a trainer reads the crops that lie there" -}}
{{- end -}}
{{- if and $v.ingress.enabled $v.httpRoute.enabled -}}
{{- fail "ingress.enabled and httpRoute.enabled exclude each other" -}}
{{- end -}}
{{- if and $v.ingress.enabled (not (and $v.ingress.host $v.ingress.tlsSecret)) -}}
{{- fail "ingress.enabled needs ingress.host and ingress.tlsSecret: the API is HTTPS alone" -}}
{{- end -}}
{{- if $v.httpRoute.enabled -}}
{{- if not $v.httpRoute.parentRefs -}}
{{- fail "httpRoute.parentRefs: name the Gateway that takes the route" -}}
{{- end -}}
{{- if and $v.httpRoute.backendTls.enabled (not (and $v.httpRoute.backendTls.hostname $v.httpRoute.backendTls.caConfigMap)) -}}
{{- fail "httpRoute.backendTls needs hostname and caConfigMap, by which the Gateway verifies the certificate of gateway.tls.existingSecret" -}}
{{- end -}}
{{- end -}}
{{- if and (or $v.ingress.enabled $v.httpRoute.enabled) (not $v.gateway.tls.existingSecret) -}}
{{- fail "gateway.tls.existingSecret: behind an Ingress or HTTPRoute all gateways need the same certificate" -}}
{{- end -}}
{{- if and $v.gateway.autoscaling.enabled (gt (int $v.gateway.autoscaling.minReplicas) (int $v.gateway.autoscaling.maxReplicas)) -}}
{{- fail "gateway.autoscaling.minReplicas is above maxReplicas" -}}
{{- end -}}
{{- range $name, $class := include "visavis.workerClasses" . | fromYaml -}}
{{- $path := printf "worker.classes.%s" $name -}}
{{- if and (eq $class.autoscaling.type "keda") (not $v.redis.enabled) (not $v.externalRedis.addresses) -}}
{{- fail (printf "%s.autoscaling.type=keda needs externalRedis.addresses beside urlKey: KEDA asks the server itself" $path) -}}
{{- end -}}
{{- if and (ne $class.autoscaling.type "none") (gt (int $class.autoscaling.minReplicas) (int $class.autoscaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.minReplicas is above maxReplicas" $path) -}}
{{- end -}}
{{- if and (ne $class.provider "cpu") (not $class.runtimeLibrary) -}}
{{- fail (printf "%s.runtimeLibrary: provider %s needs the GPU build of ONNX Runtime that is in the image" $path $class.provider) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* terminationGracePeriodSeconds. Takes what (the path of the value), given, least. */}}
{{- define "visavis.termination" -}}
{{- if eq (int .given) 0 -}}
{{- add .least .margin -}}
{{- else if le (int .given) (int .least) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds: %d is too short, draining alone may take %d s" .what (int .given) (int .least)) -}}
{{- else -}}
{{- .given -}}
{{- end -}}
{{- end -}}

{{/* The enabled classes of workers with everything they have, by name. */}}
{{- define "visavis.workerClasses" -}}
{{- $all := dict -}}
{{- $base := omit .Values.worker "classes" -}}
{{- range $name, $class := .Values.worker.classes -}}
{{- if $class.enabled -}}
{{- $_ := set $all $name (mergeOverwrite (deepCopy $base) (deepCopy $class)) -}}
{{- end -}}
{{- end -}}
{{- $all | toYaml -}}
{{- end -}}
