{{- define "triptych.scripts" -}}
send_photos.py: |
  {{- .Files.Get "files/send_photos.py" | trim | nindent 2 }}
verify_release.py: |
  {{- .Files.Get "files/verify_release.py" | trim | nindent 2 }}
{{- end -}}
