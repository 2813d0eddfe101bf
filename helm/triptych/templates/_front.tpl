{{/* Envoy before Triton: the only listener of the pod. `ops/packaging/chart_front.py` makes files/front.json and has the
same ports. */}}
{{- define "triptych.frontContainer" -}}
- name: front
  image: {{ include "triptych.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  # A native sidecar: it starts before Triton and ends after it.
  restartPolicy: Always
  command: [envoy, --config-path, /etc/front/front.json, --concurrency, "1", --disable-hot-restart, --log-level, warning]
  terminationMessagePolicy: FallbackToLogsOnError
  env:
    # The package `envoy` is that of the image, not one of a release.
    - {name: PYTHONPATH, value: ""}
  ports:
    {{- include "triptych.publicPorts" . | nindent 4 }}
  livenessProbe:
    # Flooded listeners do not touch this one, which has no limit of connections.
    httpGet: {path: /metrics/front, port: metrics}
    {{- toYaml .Values.probes.liveness | nindent 4 }}
  resources:
    {{- toYaml .Values.front.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.containerSecurityContext | nindent 4 }}
  volumeMounts:
    - {name: front, mountPath: /etc/front, readOnly: true}
    - {name: front-admin, mountPath: /run/front}
    {{- if .Values.triton.grpc.tls.existingSecret }}
    - {name: tls, mountPath: /etc/triptych/tls, readOnly: true}
    {{- end }}
{{- end -}}

{{- define "triptych.publicPorts" -}}
- {name: http, containerPort: 8000, protocol: TCP}
- {name: grpc, containerPort: 8001, protocol: TCP}
- {name: metrics, containerPort: 8002, protocol: TCP}
{{- end -}}

{{/* Address of Triton's HTTP inside the pod. */}}
{{- define "triptych.innerUrl" -}}
http://127.0.0.1:{{ ternary 18000 8000 .Values.front.enabled }}
{{- end -}}

{{/* Triton's listeners: behind the front on loopback, where nothing outside of the pod reaches them. */}}
{{- define "triptych.listeners" -}}
{{- range $index, $protocol := list "http" "grpc" "metrics" }}
{{- if $.Values.front.enabled }}
- --{{ $protocol }}-address=127.0.0.1
{{- end }}
- --{{ $protocol }}-port={{ add $index (ternary 18000 8000 $.Values.front.enabled) }}
{{- end }}
{{- end -}}

{{/* Data of the ConfigMap of the front. */}}
{{- define "triptych.frontData" -}}
{{- $config := .Files.Get "files/front.json" | fromJson -}}
{{- $layer := index (first $config.layered_runtime.layers) "static_layer" -}}
{{- /* Envoy counts in the denominator of the filter, a million. */ -}}
{{- $_ := set $layer "triptych.access_log" (mul .Values.front.accessLog 10000) -}}
{{- with (.Values.front.resources.limits | default dict).memory -}}
{{- $heap := get (first $config.overload_manager.resource_monitors) "typed_config" -}}
{{- $_ := set $heap "max_heap_size_bytes" (div (mul (include "triptych.bytes" . | int64) 4) 5) -}}
{{- end -}}
{{- range $config.static_resources.listeners -}}
{{- if ne .name "metrics" -}}
{{- $chain := first .filter_chains -}}
{{- $manager := get (last $chain.filters) "typed_config" -}}
{{- with $.Values.triton.grpc -}}
{{- if .maxConnectionAgeSeconds -}}
{{- $_ := set $manager.common_http_protocol_options "max_connection_duration" (printf "%ds" (int .maxConnectionAgeSeconds)) -}}
{{- $_ := set $manager "drain_timeout" (printf "%ds" (int .maxConnectionAgeGraceSeconds)) -}}
{{- end -}}
{{- end -}}
{{- if eq .name "http" -}}
{{- $_ := set $manager "http1_safe_max_connection_duration" true -}}
{{- else if $.Values.triton.grpc.tls.existingSecret -}}
{{- $sockets := $.Files.Get "files/front-tls.json" | fromJson -}}
{{- $_ := set $chain "transport_socket" (get $sockets (ternary "mutual" "tls" $.Values.triton.grpc.tls.mutual)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
front.json: |
  {{- toPrettyJson $config | nindent 2 }}
{{- end -}}
