{{- define "triptych.isDeep" -}}
{{- $mode := .Values.probes.deep.mode -}}
{{- if or (eq $mode "always") (and (eq $mode "auto") (lt (include "triptych.release" .Values.triton.version | int) 2604)) -}}true{{- end -}}
{{- end -}}

{{- define "triptych.probes" -}}
startupProbe:
  httpGet: {path: /v2/health/ready, port: http}
  {{- toYaml .Values.probes.startup | nindent 2 }}
readinessProbe:
  httpGet: {path: /v2/health/ready, port: http}
  {{- toYaml .Values.probes.readiness | nindent 2 }}
livenessProbe:
  {{- if include "triptych.isDeep" . }}
  {{- with .Values.probes.deep }}
  exec:
    command: [python3, /opt/triptych/scripts/send_photos.py, "http://127.0.0.1:8000", {{ sub .timeoutSeconds 1 | quote }}, {{ .photos | quote }}]
  periodSeconds: {{ .periodSeconds }}
  failureThreshold: {{ .failureThreshold }}
  timeoutSeconds: {{ .timeoutSeconds }}
  {{- end }}
  {{- else }}
  # Not /v2/health/live, which stays true when a model has died: only a restart brings it back.
  httpGet: {path: /v2/health/ready, port: http}
  {{- toYaml .Values.probes.liveness | nindent 2 }}
  {{- end }}
{{- end -}}
