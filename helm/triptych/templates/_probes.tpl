{{/* Whether the liveness probe sends photos: readiness of Triton before 26.04 ignores a dead Python model. */}}
{{- define "triptych.usesDeepProbe" -}}
{{- $mode := .Values.probes.deep.mode -}}
{{- if or (eq $mode "always") (and (eq $mode "auto") (lt (include "triptych.tritonRelease" .Values.triton.version | int) 2604)) -}}true{{- end -}}
{{- end -}}

{{- define "triptych.probes" -}}
startupProbe:
  httpGet: {path: /v2/health/ready, port: http}
  {{- toYaml .Values.probes.startup | nindent 2 }}
readinessProbe:
  httpGet: {path: /v2/health/ready, port: http}
  {{- toYaml .Values.probes.readiness | nindent 2 }}
livenessProbe:
  {{- if include "triptych.usesDeepProbe" . }}
  {{- with .Values.probes.deep }}
  exec:
    command: [python3, /opt/triptych/scripts/send_photos.py, "http://127.0.0.1:8000", {{ sub .timeoutSeconds 1 | quote }}, {{ .photos | quote }}]
  periodSeconds: {{ .periodSeconds }}
  failureThreshold: {{ .failureThreshold }}
  timeoutSeconds: {{ .timeoutSeconds }}
  {{- end }}
  {{- else }}
  # /v2/health/live still succeeds after a model failed, and only a restart recovers the model.
  httpGet: {path: /v2/health/ready, port: http}
  {{- toYaml .Values.probes.liveness | nindent 2 }}
  {{- end }}
{{- end -}}
