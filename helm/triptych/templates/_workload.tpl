{{/* Fields that a Deployment, a StatefulSet and a Rollout have in common. */}}
{{- define "triptych.workloadSpec" -}}
{{- with .Values.workload -}}
{{- if not (include "triptych.isAutoscaled" $) }}
replicas: {{ .replicas }}
{{- end }}
revisionHistoryLimit: {{ .revisionHistoryLimit }}
minReadySeconds: {{ .minReadySeconds }}
{{- if ne .kind "StatefulSet" }}
progressDeadlineSeconds: {{ .progressDeadlineSeconds }}
{{- end }}
{{- end }}
selector:
  matchLabels:
    {{- include "triptych.selectorLabels" (dict "root" . "component" "server") | nindent 4 }}
template:
  {{- include "triptych.podTemplate" . | nindent 2 }}
{{- end -}}

{{/* apiVersion, kind and name that an autoscaler refers to. */}}
{{- define "triptych.scaleTarget" -}}
apiVersion: {{ eq .Values.workload.kind "Rollout" | ternary "argoproj.io/v1alpha1" "apps/v1" }}
kind: {{ .Values.workload.kind }}
name: {{ include "triptych.fullname" . | quote }}
{{- end -}}
