{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{/* Labels of every object; call with the part's name or "". */}}
{{- define "lull.labels" -}}
app.kubernetes.io/part-of: lull
{{- with . }}
app: lull-{{ . }}
{{- end }}
{{- end }}

{{/* The image of a part: list of the root, its values and its name. */}}
{{- define "lull.image" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $values.image | default (printf "%s/lull-%s:%s" $root.Values.image.registry (index . 2) $root.Values.image.tag) -}}
{{- end }}

{{/* Metadata of a part's pods: list of the root and its name. */}}
{{- define "lull.podMetadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "lull.labels" (index . 1) | nindent 2 }}
  lull.dev/metrics: "true"
  {{- with $root.Values.podLabels }}{{ toYaml . | nindent 2 }}{{ end }}
{{- if or $root.Values.metrics.annotations $root.Values.podAnnotations }}
annotations:
  {{- if $root.Values.metrics.annotations }}
  prometheus.io/scrape: "true"
  prometheus.io/port: "9090"
  {{- end }}
  {{- with $root.Values.podAnnotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}

{{/* What the pods of all parts have in common: list of the root, the part's values and its name. */}}
{{- define "lull.podSpec" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
serviceAccountName: lull-{{ index . 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with $values.affinity }}
affinity: {{ toJson . }}
{{- end }}
# On different nodes, where there are several.
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {app: lull-{{ index . 2 }}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What the containers of all parts have in common: list of the root and the part's values. */}}
{{- define "lull.container" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 1
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "lull.installSecretMount" -}}
volumeMounts:
- {name: install, mountPath: /etc/lull/install, readOnly: true}
{{- end }}

{{- define "lull.installSecretVolume" -}}
volumes:
- name: install
  secret: {secretName: {{ .Values.installSecret.name }}, defaultMode: 0440}
{{- end }}

{{/* What a Service may say about the way in: the Service's values. */}}
{{- define "lull.serviceSpec" -}}
type: {{ .type }}
{{- if ne .type "ClusterIP" }}
{{- with .externalTrafficPolicy }}
externalTrafficPolicy: {{ . }}
{{- end }}
{{- end }}
{{- if eq .type "LoadBalancer" }}
{{- with .loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with .loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "lull.certificateNamespace" -}}
{{- .Values.tls.namespace | default (printf "%s-certificates" .Release.Namespace) -}}
{{- end }}

{{/* Not empty where Knative Eventing is there beside Lull: its kinds, and what is asked of them, stay its own. */}}
{{- define "lull.eventingIsOthers" -}}
{{- $broker := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "brokers.eventing.knative.dev" }}
{{- if and $broker (ne (dig "metadata" "labels" "app.kubernetes.io/part-of" "" $broker) "lull") }}true{{ end }}
{{- end }}

{{/* Not empty when there is a Redis for events. */}}
{{- define "lull.events" -}}
{{- if or .Values.events.redis.builtin .Values.events.redis.urlSecret.name }}true{{ end }}
{{- end }}

{{/* The Secret that has the Redis' URL, as a source of a volume. */}}
{{- define "lull.redisSecret" -}}
{{- $secret := .Values.events.redis.urlSecret -}}
{{- if .Values.events.redis.builtin -}}
{name: lull-redis, items: [{key: url, path: url}]}
{{- else -}}
{name: {{ $secret.name }}, items: [{key: {{ $secret.key }}, path: url}]}
{{- end -}}
{{- end }}

{{/* What else that Secret may have, where no Secret of its own is named for it: keys of a list. */}}
{{- define "lull.redisBeside" -}}
{{- $redis := .Values.events.redis -}}
{{- $items := list -}}
{{- if not $redis.caSecret.name }}{{ $items = append $items "{key: ca.crt, path: ca.crt}" }}{{ end -}}
{{- if not $redis.tlsSecret.name }}{{ $items = append $items "{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}" }}{{ end -}}
{{- if not $redis.sentinelPasswordSecret.name }}{{ $items = append $items "{key: sentinel-password, path: sentinel-password}" }}{{ end -}}
{{- join ", " $items -}}
{{- end }}

{{/* The parts that are there: words of a list. */}}
{{- define "lull.parts" -}}
activator autoscaler controller{{ if include "lull.events" . }} broker{{ end }}
{{- end }}

{{/* Where events are sent. */}}
{{- define "lull.brokerIngress" -}}
http://broker-ingress.{{ .Release.Namespace }}.svc.cluster.local
{{- end }}
