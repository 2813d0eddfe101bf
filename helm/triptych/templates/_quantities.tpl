{{/* A Kubernetes quantity of memory in bytes, for comparisons. */}}
{{- define "triptych.bytes" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf $number (get $factors $unit) | int64 -}}
{{- end -}}

{{/* A Kubernetes quantity of CPU in thousandths of a core, for comparisons. */}}
{{- define "triptych.millicores" -}}
{{- $text := toString . -}}
{{- mulf (trimSuffix "m" $text | float64) (hasSuffix "m" $text | ternary 1 1000) | int64 -}}
{{- end -}}

{{/* Triton's release as a number to compare: "26.04" is 2604. */}}
{{- define "triptych.release" -}}
{{- replace "." "" . | int -}}
{{- end -}}

{{/* Pods there are at least. */}}
{{- define "triptych.fewestPods" -}}
{{- if include "triptych.isAutoscaled" . }}{{ .Values.autoscaling.minReplicas }}{{ else }}{{ .Values.workload.replicas }}{{ end -}}
{{- end -}}

{{/* Pods that a budget's number or percentage means, of so many; Kubernetes rounds up. */}}
{{- define "triptych.podsOf" -}}
{{- if hasSuffix "%" (toString .value) -}}
{{- ceil (divf (mulf (trimSuffix "%" .value | float64) .pods) 100) | int -}}
{{- else -}}
{{- int .value -}}
{{- end -}}
{{- end -}}
