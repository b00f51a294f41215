{{/*
The pod of a role. Takes root, role (the program's subcommand), component, class (of a worker), spec (its values),
config (its own settings), provider, runtimeLibrary, image, grace (seconds), configMap (its name), configText.
*/}}
{{- define "visavis.pod" -}}
{{- $v := .root.Values -}}
metadata:
  labels:
    {{- include "visavis.selector" . | nindent 4 }}
    visavis/metrics: "true"
    {{- with omit .spec.podLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ .role }}
    checksum/config: {{ .configText | sha256sum }}
    {{- with .spec.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "visavis.serviceAccountName" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .grace }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .spec.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- if and (ne .role "gateway") (eq $v.models.source "fetch") }}
  initContainers:
    - name: models
      image: {{ include "visavis.image" (dict "root" .root "image" $v.models.image) }}
      imagePullPolicy: {{ $v.models.image.pullPolicy }}
      command: [visavis]
      args: [models, fetch, --config, /etc/visavis/models.toml]
      env:
        - {name: PIP_NO_CACHE_DIR, value: "1"}
        - {name: HOME, value: /tmp}
        {{- with $v.models.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      securityContext: {{- include "visavis.containerSecurity" . | nindent 8 }}
      resources:
        requests: {cpu: 100m, memory: 128Mi}
        limits: {memory: 512Mi}
      volumeMounts:
        - {name: config, mountPath: /etc/visavis, readOnly: true}
        - {name: models, mountPath: /models}
        - {name: tmp, mountPath: /tmp}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "visavis.image" (dict "root" .root "image" .image) }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      command: [visavis]
      args: [{{ .role }}, --config, /etc/visavis/visavis.toml]
      {{- $env := include "visavis.secretEnv" . }}
      env:
        {{- $env | trim | nindent 8 }}
        {{- with .spec.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- if eq .role "gateway" }}
        - {name: https, containerPort: 8443}
        {{- end }}
        - {name: admin, containerPort: 9090}
      startupProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: {{ .spec.startup.periodSeconds }}
        failureThreshold: {{ .spec.startup.failureThreshold }}
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      {{- if eq .role "gateway" }}
      {{- with .spec.preStopSeconds }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ . }}}
      {{- end }}
      {{- end }}
      securityContext: {{- include "visavis.containerSecurity" . | nindent 8 }}
      resources: {{- include "visavis.resources" . | nindent 8 }}
      volumeMounts:
        {{- include "visavis.mounts" . | trim | nindent 8 }}
  volumes:
    {{- include "visavis.volumes" . | trim | nindent 4 }}
  {{- with .spec.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .spec.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .spec.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if ne .role "trainer" }}
  topologySpreadConstraints:
    {{- if .spec.topologySpreadConstraints }}
    {{- toYaml .spec.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "visavis.selector" . | nindent 10 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "visavis.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Requests and limits, with the GPUs of a class that computes on them. */}}
{{- define "visavis.resources" -}}
{{- $resources := deepCopy .spec.resources -}}
{{- if and .provider (ne .provider "cpu") -}}
{{- $limits := merge (dict .spec.gpu.resource .spec.gpu.count) ($resources.limits | default dict) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "visavis.mounts" -}}
{{- $v := .root.Values }}
- {name: config, mountPath: /etc/visavis, readOnly: true}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- if ne .role "gateway" }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- if eq .role "trainer" }}
- {name: scratch, mountPath: /scratch}
{{- end }}
{{- if eq .role "gateway" }}
- {name: admin-key, mountPath: /run/secrets/visavis/admin, readOnly: true}
{{- if $v.gateway.tls.existingSecret }}
- {name: tls, mountPath: /run/secrets/visavis/tls, readOnly: true}
{{- end }}
{{- end }}
{{- if $v.secrets.sealing.existingSecret }}
- {name: sealing, mountPath: /run/secrets/visavis/sealing, readOnly: true}
{{- end }}
{{- if include "visavis.redis.caSecret" .root }}
- {name: redis-ca, mountPath: /run/secrets/visavis/redis, readOnly: true}
{{- end }}
{{- if $v.objects.url }}
- {name: objects, mountPath: /run/secrets/visavis/objects, readOnly: true}
{{- if $v.objects.caSecret }}
- {name: objects-ca, mountPath: /run/secrets/visavis/objects-ca, readOnly: true}
{{- end }}
{{- end }}
{{- with .spec.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "visavis.volumes" -}}
{{- $v := .root.Values }}
- name: config
  configMap: {name: {{ .configMap }}}
- name: data
  emptyDir: {sizeLimit: {{ .spec.snapshotsSizeLimit | default "64Mi" }}}
# Memory: what lies here for a moment may be a picture of somebody.
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 256Mi}
{{- if eq .role "trainer" }}
# Memory as well: weights that have learnt from faces. A container's own /dev/shm has 64 MiB, which is no model.
- name: scratch
  emptyDir: {medium: Memory, sizeLimit: {{ .spec.scratchSizeLimit }}}
{{- end }}
{{- if ne .role "gateway" }}
- name: models
{{- if $v.models.existingClaim }}
  persistentVolumeClaim: {claimName: {{ $v.models.existingClaim }}{{ if eq $v.models.source "volume" }}, readOnly: true{{ end }}}
{{- else }}
  emptyDir: {sizeLimit: {{ $v.models.sizeLimit }}}
{{- end }}
{{- end }}
{{- if eq .role "gateway" }}
- {{ include "visavis.secretVolume" (list "admin-key" $v.secrets.adminKey.existingSecret $v.secrets.adminKey.key) }}
{{- with $v.gateway.tls.existingSecret }}
- {{ include "visavis.secretVolume" (list "tls" . "tls.crt" "tls.key") }}
{{- end }}
{{- end }}
{{- with $v.secrets.sealing.existingSecret }}
- {{ include "visavis.secretVolume" (list "sealing" . $v.secrets.sealing.key) }}
{{- end }}
{{- with include "visavis.redis.caSecret" .root }}
- {{ include "visavis.secretVolume" (list "redis-ca" . $v.externalRedis.caKey) }}
{{- end }}
{{- if $v.objects.url }}
- {{ include "visavis.secretVolume" (list "objects" $v.objects.existingSecret $v.objects.secretKeyKey) }}
{{- with $v.objects.caSecret }}
- {{ include "visavis.secretVolume" (list "objects-ca" . $v.objects.caKey) }}
{{- end }}
{{- end }}
{{- with .spec.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A secret's keys as files that the pod's group may read. Takes the volume's name, the secret and the keys. */}}
{{- define "visavis.secretVolume" -}}
{name: {{ index . 0 }}, secret: {secretName: {{ index . 1 }}, defaultMode: 0440, items: [
{{- range $i, $key := slice . 2 }}{{ if $i }}, {{ end }}{key: {{ $key }}, path: {{ $key }}}{{ end }}]}}
{{- end -}}
