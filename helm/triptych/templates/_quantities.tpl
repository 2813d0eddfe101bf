{{/* A Kubernetes memory quantity in bytes. */}}
{{- define "triptych.bytes" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf $number (get $factors $unit) | int64 -}}
{{- end -}}

{{/* A Kubernetes CPU quantity in thousandths of a core. */}}
{{- define "triptych.millicores" -}}
{{- $text := toString . -}}
{{- mulf (trimSuffix "m" $text | float64) (hasSuffix "m" $text | ternary 1 1000) | int64 -}}
{{- end -}}

{{/* A Triton release as a number: "26.04" becomes 2604. */}}
{{- define "triptych.tritonRelease" -}}
{{- replace "." "" . | int -}}
{{- end -}}

{{- define "triptych.isAutoscaled" -}}
{{- if or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled -}}true{{- end -}}
{{- end -}}

{{/* Minimum number of pods. */}}
{{- define "triptych.minimumPods" -}}
{{- if include "triptych.isAutoscaled" . }}{{ .Values.autoscaling.minReplicas }}{{ else }}{{ .Values.workload.replicas }}{{ end -}}
{{- end -}}

{{/* Number of pods for a disruption budget's number or percentage. Arguments: value, pods. Kubernetes rounds up. */}}
{{- define "triptych.budgetPods" -}}
{{- if hasSuffix "%" (toString .value) -}}
{{- ceil (divf (mulf (trimSuffix "%" .value | float64) .pods) 100) | int -}}
{{- else -}}
{{- int .value -}}
{{- end -}}
{{- end -}}
