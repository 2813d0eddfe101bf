{{/* Names of objects end in suffixes of up to 22 characters and stay within 63, and a Service's name has no dot, which
Helm lets a release have: what is longer than 40 or dotted is cut and told apart by a hash, so that two never meet. */}}
{{- define "triptych.short" -}}
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
{{- include "triptych.short" .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- include "triptych.short" .Release.Name -}}
{{- else -}}
{{- include "triptych.short" (printf "%s-%s" .Release.Name $name) -}}
{{- end -}}
{{- end -}}

{{- define "triptych.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "triptych.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "triptych.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ if .digest }}@{{ .digest }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* apiVersion and kind that the autoscalers point to. */}}
{{- define "triptych.scaleTarget" -}}
apiVersion: {{ eq .Values.workload.kind "Rollout" | ternary "argoproj.io/v1alpha1" "apps/v1" }}
kind: {{ .Values.workload.kind }}
name: {{ include "triptych.fullname" . | quote }}
{{- end -}}

{{- define "triptych.isAutoscaled" -}}
{{- if or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled -}}true{{- end -}}
{{- end -}}
