{{- define "triptych.isRouted" -}}
{{- if or .Values.ingress.enabled .Values.gatewayApi.httpRoute.enabled .Values.gatewayApi.grpcRoute.enabled -}}true{{- end -}}
{{- end -}}

{{/* Whether a peer of the policy may be somewhere else than in the release's namespace. */}}
{{- define "triptych.letsOthersIn" -}}
{{- range .Values.networkPolicy.callers }}{{ if or .ipBlock (hasKey . "namespaceSelector") }}true{{ end }}{{ end -}}
{{- end -}}

{{/* Where a route sends requests: arguments root, port. */}}
{{- define "triptych.backends" -}}
{{- $name := include "triptych.fullname" .root -}}
{{- $canary := .root.Values.canary -}}
{{- if and (eq .root.Values.workload.kind "Rollout") $canary.rollout.useRoutes -}}
# Argo Rollouts moves the weights.
- {name: {{ $name | quote }}, port: {{ .port }}, weight: 100}
- {name: {{ $name }}-canary, port: {{ .port }}, weight: 0}
{{- else if $canary.route.service -}}
- {name: {{ $name | quote }}, port: {{ .port }}, weight: {{ sub 100 $canary.route.weightPercent }}}
- {name: {{ $canary.route.service | quote }}, port: {{ .port }}, weight: {{ $canary.route.weightPercent }}}
{{- else -}}
- {name: {{ $name | quote }}, port: {{ .port }}}
{{- end -}}
{{- end -}}
