{{/* Label matchers for the pods of this release; the chart's monitors add these labels. Arguments: root, and optional further matchers `more`. */}}
{{- define "triptych.series" -}}
namespace={{ .root.Release.Namespace | quote }}, app_kubernetes_io_instance={{ .root.Release.Name | quote }}{{ with .more }}, {{ . }}{{ end }}
{{- end -}}

{{/* Requests in flight: seconds of request duration per second (Little's law). */}}
{{- define "triptych.inFlightQuery" -}}
sum(rate(nv_inference_request_duration_us{ {{- include "triptych.series" (dict "root" . "more" (printf "model=%q" .Values.autoscaling.model)) -}} }[1m])) / 1e6
{{- end -}}

{{/* Mean queue delay of a request in milliseconds, summed over all models; a model without traffic adds 0. */}}
{{- define "triptych.queueWaitQuery" -}}
{{- $model := printf "model=%q" .root.Values.autoscaling.model -}}
sum(rate(nv_inference_queue_duration_us{ {{- include "triptych.series" . -}} }[1m])) / clamp_min(sum(rate(nv_inference_request_success{ {{- include "triptych.series" (dict "root" .root "more" (list $model .more | compact | join ", ")) -}} }[1m])), 0.001) / 1000
{{- end -}}

{{/* Failures per request: Triton counts those of ensemble steps, `triptych_refusals_total` counts those inside models. */}}
{{- define "triptych.errorRatioQuery" -}}
{{- $model := printf "model=%q" .root.Values.autoscaling.model -}}
{{- $steps := printf "model!=%q" .root.Values.autoscaling.model -}}
(sum(rate(nv_inference_request_failure{ {{- include "triptych.series" (dict "root" .root "more" (list $steps `reason!="CANCELED"` .more | compact | join ", ")) -}} }[2m])) + sum(rate(nv_inference_request_failure{ {{- include "triptych.series" (dict "root" .root "more" (list $model `reason!~"CANCELED|OTHER"` .more | compact | join ", ")) -}} }[2m])) + sum(rate(triptych_refusals_total{ {{- include "triptych.series" (dict "root" .root "more" (list `code=~"catalogue_unavailable|catalogue_unusable|internal|model_not_ready|queue_full"` .more | compact | join ", ")) -}} }[2m]))) / sum(rate(nv_inference_request_success{ {{- include "triptych.series" (dict "root" .root "more" (list $model .more | compact | join ", ")) -}} }[2m]))
{{- end -}}

{{/* Label `job` of every series; ops/slo.yaml contains the same name. */}}
{{- define "triptych.job" -}}triptych{{- end -}}

{{/* Pod labels that Prometheus adds to every series. */}}
{{- define "triptych.podTargetLabels" -}}
- app.kubernetes.io/instance
- triptych-release
{{- if eq .Values.workload.kind "Rollout" }}
- rollouts-pod-template-hash
{{- end }}
{{- end -}}

{{/* Endpoints of a PodMonitor or ServiceMonitor: Triton, and the front as a job of its own. Arguments: root, monitor. */}}
{{- define "triptych.metricsEndpoints" -}}
- port: metrics
  path: /metrics
  interval: {{ .monitor.intervalSeconds }}s
  relabelings:
    - {targetLabel: job, replacement: {{ include "triptych.job" . }}}
{{- if .root.Values.front.enabled }}
- port: metrics
  path: /metrics/front
  interval: {{ .monitor.intervalSeconds }}s
  relabelings:
    - {targetLabel: job, replacement: {{ include "triptych.job" . }}-front}
{{- end }}
{{- end -}}
