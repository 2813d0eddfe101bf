{{/* The chart appends suffixes of up to 22 characters, and the limit of a name is 63; a Service name has no dot, but a
Helm release name may. A name that is longer than 40 characters or has a dot is truncated and gets a hash, so that two
releases never share a name. */}}
{{- define "triptych.truncatedName" -}}
{{- if or (gt (len .) 40) (contains "." .) -}}
{{ replace "." "-" . | trunc 31 | trimSuffix "-" }}-{{ sha256sum . | trunc 8 }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{- define "triptych.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "triptych.fullname" -}}
{{- $name := include "triptych.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- include "triptych.truncatedName" .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- include "triptych.truncatedName" .Release.Name -}}
{{- else -}}
{{- include "triptych.truncatedName" (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- end -}}

{{- define "triptych.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "triptych.fullname" .) "default") -}}
{{- end -}}

{{- define "triptych.image" -}}
{{- $registry := .Values.image.registry | default (.Values.global | default dict).imageRegistry -}}
{{- with .Values.image -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ if .digest }}@{{ .digest }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "triptych.httpUrl" -}}
http://{{ include "triptych.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.httpPort }}
{{- end -}}
