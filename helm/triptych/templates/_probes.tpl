{{/* Whether the liveness probe sends photos: readiness of Triton before 26.04 ignores a dead Python model. */}}
{{- define "triptych.usesDeepProbe" -}}
{{- $mode := .Values.probes.deep.mode -}}
{{- if or (eq $mode "always") (and (eq $mode "auto") (lt (include "triptych.tritonRelease" .Values.triton.version | int) 2604)) -}}true{{- end -}}
{{- end -}}

{{- define "triptych.probes" -}}
{{- /* A name would be a port of this container; those of the front are ports of the pod. */ -}}
{{- $port := ternary "8000" "http" .Values.front.enabled -}}
startupProbe:
  httpGet: {path: /v2/health/ready, port: {{ $port }}}
  {{- toYaml .Values.probes.startup | nindent 2 }}
readinessProbe:
  httpGet: {path: /v2/health/ready, port: {{ $port }}}
  {{- toYaml .Values.probes.readiness | nindent 2 }}
livenessProbe:
  {{- if include "triptych.usesDeepProbe" . }}
  {{- with .Values.probes.deep }}
  exec:
    command: [python3, /opt/triptych/scripts/send_photos.py, {{ include "triptych.innerUrl" $ | quote }}, {{ sub .timeoutSeconds 1 | quote }}, {{ .photos | quote }}]
  periodSeconds: {{ .periodSeconds }}
  failureThreshold: {{ .failureThreshold }}
  timeoutSeconds: {{ .timeoutSeconds }}
  {{- end }}
  {{- else }}
  # /v2/health/live still succeeds after a model failed, and only a restart recovers the model.
  {{- if .Values.front.enabled }}
  # Past the front: callers that use up its connections must not restart Triton.
  exec:
    command: [python3, -I, -c, "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2]))", {{ include "triptych.innerUrl" . }}/v2/health/ready, {{ .Values.probes.liveness.timeoutSeconds | quote }}]
  {{- else }}
  httpGet: {path: /v2/health/ready, port: http}
  {{- end }}
  {{- toYaml .Values.probes.liveness | nindent 2 }}
  {{- end }}
{{- end -}}
