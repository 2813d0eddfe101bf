{{/* Data of the ConfigMap of scripts. */}}
{{- define "triptych.scripts" -}}
send_photos.py: |
  {{- .Files.Get "files/send_photos.py" | trim | nindent 2 }}
start_server.py: |
  {{- .Files.Get "files/start_server.py" | trim | nindent 2 }}
verify_release.py: |
  {{- .Files.Get "files/verify_release.py" | trim | nindent 2 }}
{{- end -}}

{{- define "triptych.scriptVolume" -}}
{name: scripts, configMap: {name: {{ include "triptych.fullname" . }}-scripts, defaultMode: 0444}}
{{- end -}}

{{- define "triptych.scriptMount" -}}
{name: scripts, mountPath: /opt/triptych/scripts, readOnly: true}
{{- end -}}
