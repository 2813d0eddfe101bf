{{/* Other forms in which people write values: taken where they can mean only one thing, else refused with the form that
is right. The schema lets them pass, because its own message does not say how to write them. */}}
{{- define "triptych.validate.forms" -}}
{{- $values := .Values -}}
{{- $lists := dict
  "tolerations" "[{key: nvidia.com/gpu, operator: Exists}]"
  "topologySpreadConstraints" "[{topologyKey: kubernetes.io/hostname, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway}]"
  "extraEnvFrom" "[{secretRef: {name: my-secret}}]"
  "extraVolumes" "[{name: cache, emptyDir: {}}]"
  "extraVolumeMounts" "[{name: cache, mountPath: /var/cache}]"
  "extraContainers" "[{name: sidecar, image: registry.example/sidecar:1.0}]"
  "extraInitContainers" "[{name: prepare, image: registry.example/prepare:1.0}]"
  "extraObjects" "[{apiVersion: v1, kind: ConfigMap, metadata: {name: mine}}]" -}}
{{- range $key, $example := $lists }}
{{- if kindIs "map" (get $values $key) }}
{{ $key }} is a map; the chart takes a list. Write {{ $key }}: {{ $example }}.
{{- end }}
{{- end }}
{{- $maps := dict
  "nodeSelector" "{kubernetes.io/arch: amd64}"
  "affinity" "{nodeAffinity: {...}}" -}}
{{- range $key, $example := $maps }}
{{- if kindIs "slice" (get $values $key) }}
{{ $key }} is a list; the chart takes a map. Write {{ $key }}: {{ $example }}.
{{- end }}
{{- end }}
{{- $foreign := include "triptych.foreignValues" . | fromYaml -}}
{{- range $key, $right := $foreign }}
{{- if hasKey $values $key }}
{{ $key }} is no value of this chart. Use {{ $right }}.
{{- end }}
{{- end }}
{{- range list "httpPort" "grpcPort" }}
{{- if kindIs "string" (get $values.service .) }}
service.{{ . }} is the text {{ get $values.service . | quote }}; the chart takes a number. Write service.{{ . }}: {{ get $values.service . | default "8000" }} without quotation marks (with --set, not --set-string).
{{- end }}
{{- end }}
{{- if not (kindIs "string" $values.triton.version) }}
triton.version is the number {{ $values.triton.version }}, which loses a last 0. Write it as text, "26.04" for example (with --set-string).
{{- end }}
{{- if not (kindIs "string" $values.image.tag) }}
image.tag is the number {{ $values.image.tag }}, which YAML may round. Write it as text: image.tag: "{{ $values.image.tag }}" (with --set-string).
{{- end }}
{{- $owners := dict "resources" $values.resources "front.resources" $values.front.resources "loadTest.resources" $values.loadTest.resources "modelRepository.fetcher.resources" $values.modelRepository.fetcher.resources "modelRepository.initContainer.resources" $values.modelRepository.initContainer.resources -}}
{{- range $key, $resources := $owners }}
{{- range $part, $amounts := $resources }}
{{- if and (hasKey $amounts "memory") (not (kindIs "string" $amounts.memory)) }}
{{ $key }}.{{ $part }}.memory is the number {{ $amounts.memory }}, which Kubernetes reads as bytes. Write it with its unit: "4Gi".
{{- end }}
{{- end }}
{{- end }}
{{- with $values.global }}
{{- if and (hasKey . "imageRegistry") (not (kindIs "string" .imageRegistry)) (not (kindIs "invalid" .imageRegistry)) }}
global.imageRegistry is {{ kindOf .imageRegistry | eq "map" | ternary "a map" "no text" }}; the chart takes text. Write global.imageRegistry: registry.example.
{{- end }}
{{- if and (hasKey . "imagePullSecrets") (not (kindIs "slice" .imagePullSecrets)) (not (kindIs "invalid" .imagePullSecrets)) }}
global.imagePullSecrets is no list; write global.imagePullSecrets: [my-secret].
{{- end }}
{{- end }}
{{- end -}}

{{/* Names that other charts use, and the value of this chart. */}}
{{- define "triptych.foreignValues" -}}
imagePullSecrets: "image.pullSecrets: [my-secret]"
imageRegistry: "image.registry, or global.imageRegistry of the parent chart"
replicaCount: "workload.replicas"
replicas: "workload.replicas"
env: "extraEnv: [{name: NAME, value: text}] or extraEnv: {NAME: text}"
envFrom: "extraEnvFrom"
volumes: "extraVolumes"
volumeMounts: "extraVolumeMounts"
initContainers: "extraInitContainers"
sidecars: "extraContainers"
extraManifests: "extraObjects"
securityContext: "containerSecurityContext, or podSecurityContext for the pod"
annotations: "podAnnotations, or workload.annotations"
labels: "podLabels, or commonLabels"
podDisruptionBudget: "pdb"
serviceMonitor: "monitoring.serviceMonitor"
{{- end -}}

{{/* A map whose values are text, as annotations and labels are: 8000 and true become "8000" and "true". */}}
{{- define "triptych.strings" -}}
{{- $texts := dict -}}
{{- range $key, $value := . }}{{ $_ := set $texts $key (include "triptych.text" $value) }}{{ end -}}
{{- toYaml $texts -}}
{{- end -}}

{{/* Helm reads every number as a float, and prints 1e+06. */}}
{{- define "triptych.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* Variables of extraEnv, a list of Kubernetes' entries or a map of names; as a list in `variables`. */}}
{{- define "triptych.extraEnv" -}}
{{- $variables := list -}}
{{- if kindIs "map" .Values.extraEnv -}}
{{- range $name, $value := .Values.extraEnv -}}
{{- $entry := kindIs "map" $value | ternary $value (dict "value" $value) -}}
{{- $variables = append $variables (merge (dict "name" $name) $entry) -}}
{{- end -}}
{{- else -}}
{{- $variables = .Values.extraEnv | default list -}}
{{- end -}}
{{- $texts := list -}}
{{- range $variables -}}
{{- $texts = append $texts (hasKey . "value" | ternary (merge (dict "value" (include "triptych.text" .value)) .) .) -}}
{{- end -}}
{{- dict "variables" $texts | toYaml -}}
{{- end -}}

{{/* Names of image.pullSecrets and of global.imagePullSecrets, each once; as a list in `names`. */}}
{{- define "triptych.pullSecrets" -}}
{{- $names := list -}}
{{- $own := kindIs "string" .Values.image.pullSecrets | ternary (list .Values.image.pullSecrets) .Values.image.pullSecrets -}}
{{- range concat $own ((.Values.global | default dict).imagePullSecrets | default list) -}}
{{- $names = append $names (kindIs "map" . | ternary . (dict "name" .)).name -}}
{{- end -}}
{{- dict "names" (uniq $names) | toYaml -}}
{{- end -}}

{{/* An image of another registry than this one: global.imageRegistry before a name without registry. Arguments: root, image. */}}
{{- define "triptych.otherImage" -}}
{{- $registry := (.root.Values.global | default dict).imageRegistry -}}
{{- $first := splitList "/" .image | first -}}
{{- $hasRegistry := and (contains "/" .image) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- if and $registry (not $hasRegistry) }}{{ trimSuffix "/" $registry }}/{{ end }}{{ .image -}}
{{- end -}}
