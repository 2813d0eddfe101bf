{{/* Whether an Ingress or a route leads to the server. */}}
{{- define "triptych.isExposed" -}}
{{- if or .Values.ingress.enabled .Values.gatewayApi.httpRoute.enabled .Values.gatewayApi.grpcRoute.enabled -}}true{{- end -}}
{{- end -}}

{{/* Whether the network policy admits callers from outside the release's namespace. */}}
{{- define "triptych.allowsOtherNamespaces" -}}
{{- range .Values.networkPolicy.callers }}{{ if or .ipBlock (hasKey . "namespaceSelector") }}true{{ end }}{{ end -}}
{{- end -}}

{{/* Backends of a route. Arguments: root, port. */}}
{{- define "triptych.backends" -}}
{{- $name := include "triptych.fullname" .root -}}
{{- $canary := .root.Values.canary -}}
{{- if and (eq .root.Values.workload.kind "Rollout") $canary.rollout.useRoutes -}}
# Argo Rollouts changes the weights.
- {name: {{ $name | quote }}, port: {{ .port }}, weight: 100}
- {name: {{ $name }}-canary, port: {{ .port }}, weight: 0}
{{- else if $canary.route.service -}}
- {name: {{ $name | quote }}, port: {{ .port }}, weight: {{ sub 100 $canary.route.weightPercent }}}
- {name: {{ $canary.route.service | quote }}, port: {{ .port }}, weight: {{ $canary.route.weightPercent }}}
{{- else -}}
- {name: {{ $name | quote }}, port: {{ .port }}}
{{- end -}}
{{- end -}}

{{/* Gateways and host names of a route. Argument: the values of the route. */}}
{{- define "triptych.routeParents" -}}
parentRefs:
  {{- toYaml .parentRefs | nindent 2 }}
{{- with .hostnames }}
hostnames:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
