{{/* PromQL on the pods of this release; `more` adds matchers. Needs the labels that the chart's monitors put on. */}}
{{- define "triptych.series" -}}
namespace={{ .root.Release.Namespace | quote }}, app_kubernetes_io_instance={{ .root.Release.Name | quote }}{{ with .more }}, {{ . }}{{ end }}
{{- end -}}

{{/* Requests at work or waiting: the seconds that requests spent here in each second (Little's law). */}}
{{- define "triptych.inFlightQuery" -}}
sum(rate(nv_inference_request_duration_us{ {{- include "triptych.series" (dict "root" . "more" (printf "model=%q" .Values.autoscaling.model)) -}} }[1m])) / 1e6
{{- end -}}

{{/* Mean milliseconds in all queues of a request: an idle model adds nothing, so it dilutes nothing. */}}
{{- define "triptych.queueWaitQuery" -}}
{{- $model := printf "model=%q" .root.Values.autoscaling.model -}}
sum(rate(nv_inference_queue_duration_us{ {{- include "triptych.series" . -}} }[1m])) / clamp_min(sum(rate(nv_inference_request_success{ {{- include "triptych.series" (dict "root" .root "more" (list $model .more | compact | join ", ")) -}} }[1m])), 0.001) / 1000
{{- end -}}

{{/* Failures per request, counted where they happen: on steps by Triton, inside models by our own counter. */}}
{{- define "triptych.errorRatioQuery" -}}
{{- $model := printf "model=%q" .root.Values.autoscaling.model -}}
{{- $steps := printf "model!=%q" .root.Values.autoscaling.model -}}
(sum(rate(nv_inference_request_failure{ {{- include "triptych.series" (dict "root" .root "more" (list $steps `reason!="CANCELED"` .more | compact | join ", ")) -}} }[2m])) + sum(rate(nv_inference_request_failure{ {{- include "triptych.series" (dict "root" .root "more" (list $model `reason!~"CANCELED|OTHER"` .more | compact | join ", ")) -}} }[2m])) + sum(rate(triptych_refusals_total{ {{- include "triptych.series" (dict "root" .root "more" (list `code=~"catalogue_unavailable|catalogue_unusable|internal|model_not_ready|queue_full"` .more | compact | join ", ")) -}} }[2m]))) / sum(rate(nv_inference_request_success{ {{- include "triptych.series" (dict "root" .root "more" (list $model .more | compact | join ", ")) -}} }[2m]))
{{- end -}}

{{/* What a scraped pod's series carry: `job` as ops/slo.yaml has it, instance and release from the pod's labels. */}}
{{- define "triptych.job" -}}triptych{{- end -}}

{{- define "triptych.podTargetLabels" -}}
- app.kubernetes.io/instance
- triptych-release
{{- if eq .Values.workload.kind "Rollout" }}
- rollouts-pod-template-hash
{{- end }}
{{- end -}}
