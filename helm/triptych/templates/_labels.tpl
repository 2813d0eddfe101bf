{{/* Arguments of all definitions here: root, component. Selectors use these labels; no chart version changes them. */}}
{{- define "triptych.selectorLabels" -}}
app.kubernetes.io/name: {{ include "triptych.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of a pod. They contain no chart version, because an upgrade of the chart would then restart every pod. */}}
{{- define "triptych.podLabels" -}}
{{- $labels := include "triptych.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "triptych" -}}
{{- include "triptych.strings" (merge $labels .root.Values.commonLabels) -}}
{{- end -}}

{{- define "triptych.labels" -}}
{{- $labels := include "triptych.podLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Metadata of an object. Optional arguments: `name` or a `suffix` of the full name, `labels`, `annotations`. */}}
{{- define "triptych.metadata" -}}
name: "{{ .name | default (include "triptych.fullname" .root) }}{{ with .suffix }}-{{ . }}{{ end }}"
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "triptych.strings" (merge (include "triptych.labels" . | fromYaml) (.labels | default dict)) | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- include "triptych.strings" . | nindent 2 }}
{{- end }}
{{- end -}}
