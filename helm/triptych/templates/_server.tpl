{{/* Name of the Secret with the key of the restricted APIs; empty if there is none, or no such API. */}}
{{- define "triptych.adminSecret" -}}
{{- with .Values.triton.restrictedApis }}{{ if .apis }}{{ .existingSecret }}{{ end }}{{ end -}}
{{- end -}}

{{/* Command of the server. start_server.py replaces @KEY@ in the arguments and then itself by the server. */}}
{{- define "triptych.serverCommand" -}}
{{- $start := list "python3" "-I" "/opt/triptych/scripts/start_server.py" -}}
{{- if include "triptych.adminSecret" . -}}
{{- $start = concat $start (list "--key-file" "/etc/triptych/admin/key") -}}
{{- end -}}
{{ toJson (ternary (append $start "tritonserver") (list "tritonserver") (gt (len .Values.triton.restrictedApis.apis) 0)) }}
{{- end -}}

{{/* All arguments of the server. */}}
{{- define "triptych.serverArguments" -}}
{{- $triton := .Values.triton -}}
- --model-repository=/models/models
- --model-control-mode=none
- --disable-auto-complete-config
- --exit-on-error=true
- --exit-timeout-secs={{ $triton.exitTimeoutSeconds }}
- --log-format=ISO8601
{{- with $triton.logVerbose }}
- --log-verbose={{ . }}
{{- end }}
{{- with $triton.modelConfigName }}
- --model-config-name={{ . }}
{{- end }}
{{- include "triptych.listeners" . }}
- --http-thread-count={{ $triton.http.threads }}
{{- with $triton.http.maxInputBytes }}
- --http-max-input-size={{ int64 . }}
{{- end }}
{{- if not .Values.front.enabled }}
{{- with $triton.grpc }}
{{- if .maxConnectionAgeSeconds }}
- --grpc-max-connection-age={{ mul .maxConnectionAgeSeconds 1000 }}
- --grpc-max-connection-age-grace={{ mul .maxConnectionAgeGraceSeconds 1000 }}
{{- end }}
{{- if .tls.existingSecret }}
- --grpc-use-ssl=true
- --grpc-server-cert=/etc/triptych/tls/tls.crt
- --grpc-server-key=/etc/triptych/tls/tls.key
{{- if .tls.mutual }}
- --grpc-use-ssl-mutual=true
- --grpc-root-cert=/etc/triptych/tls/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end }}
- --metrics-config=summary_latencies={{ $triton.metrics.summaries }}
{{- if $triton.metrics.histograms }}
- --metrics-config=histogram_latencies=true
{{- end }}
{{- with $triton.restrictedApis.apis }}
# start_server.py inserts the key.
- --http-restricted-api={{ join "," . }}:triptych-key=@KEY@
- --grpc-restricted-protocol={{ join "," . }}:triptych-key=@KEY@
{{- end }}
{{- if $triton.tracing.enabled }}
- --trace-config=mode=opentelemetry
- "--trace-config=opentelemetry,url={{ $triton.tracing.url }}"
- --trace-config=opentelemetry,resource=service.name={{ include "triptych.fullname" . }}
- --trace-config=rate={{ int64 $triton.tracing.rate }}
- --trace-config=level=TIMESTAMPS
{{- end }}
{{- with $triton.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Flags that `triton.extraArgs` must not repeat, and the value that sets each. */}}
{{- define "triptych.reservedFlags" -}}
model-repository: modelRepository
model-store: modelRepository
model-control-mode: nothing, it is always none
repository-poll-secs: nothing, Triton never polls a release
load-model: nothing, Triton loads the whole release
disable-auto-complete-config: nothing, every config.pbtxt is complete
exit-on-error: nothing, a pod that cannot load its models must not serve
exit-timeout-secs: triton.exitTimeoutSeconds
log-format: nothing, it is always ISO8601
log-verbose: triton.logVerbose
model-config-name: triton.modelConfigName
allow-http: nothing, the probes need it
http-address: front.enabled
http-port: front.enabled
http-thread-count: triton.http.threads
http-max-input-size: triton.http.maxInputBytes
allow-grpc: nothing, callers need it
grpc-address: front.enabled
grpc-port: front.enabled
grpc-max-connection-age: triton.grpc.maxConnectionAgeSeconds
grpc-max-connection-age-grace: triton.grpc.maxConnectionAgeGraceSeconds
grpc-use-ssl: triton.grpc.tls
grpc-use-ssl-mutual: triton.grpc.tls.mutual
grpc-server-cert: triton.grpc.tls.existingSecret
grpc-server-key: triton.grpc.tls.existingSecret
grpc-root-cert: triton.grpc.tls.existingSecret
allow-metrics: nothing, the autoscaler needs them
metrics-address: front.enabled
metrics-port: front.enabled
http-restricted-api: triton.restrictedApis
grpc-restricted-protocol: triton.restrictedApis
trace-config: triton.tracing
{{- end -}}

{{/* Environment of the server. */}}
{{- define "triptych.serverEnvironment" -}}
# Triton, ONNX Runtime and Python write their files to /tmp.
- {name: HOME, value: /tmp}
- {name: TMPDIR, value: /tmp}
# The models import `triptych_models` from here; Triton's isolated Python stubs import it through the working directory.
- {name: PYTHONPATH, value: /models}
- {name: TRIPTYCH_CACHE_MB, value: {{ .Values.triton.answerCache.sizeMb | quote }}}
{{- with .Values.catalogue }}
{{- if .enabled }}
- {name: TRIPTYCH_CATALOGUE_KEY_FILE, value: {{ printf "/etc/triptych/catalogue/%s" .key.secretKey | quote }}}
{{- if eq .engine "embedded" }}
- {name: TRIPTYCH_CATALOGUE_DIR, value: /var/lib/triptych/catalogue}
{{- else }}
- {name: TRIPTYCH_CATALOGUE_WEAVIATE, value: {{ .weaviate.url | quote }}}
- {name: TRIPTYCH_CATALOGUE_WEAVIATE_GRPC, value: {{ .weaviate.grpcPort | quote }}}
- {name: TRIPTYCH_CATALOGUE_WEAVIATE_REPLICAS, value: {{ .weaviate.replicas | quote }}}
{{- if .weaviate.apiKey.existingSecret }}
- {name: TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE, value: {{ printf "/etc/triptych/weaviate/%s" .weaviate.apiKey.secretKey | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with (include "triptych.extraEnv" . | fromYaml).variables }}
{{ toYaml . }}
{{- end }}
{{- end -}}
