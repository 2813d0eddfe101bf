{{/* appProtocol of the gRPC port. */}}
{{- define "triptych.grpcProtocol" -}}
{{- ternary "https" "kubernetes.io/h2c" (ne .Values.triton.grpc.tls.existingSecret "") -}}
{{- end -}}

{{/* A Service for clients. Arguments: root; optional suffix of the name, type. */}}
{{- define "triptych.clientService" -}}
{{- $service := .root.Values.service -}}
{{- $type := .type | default $service.type -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "triptych.metadata" (dict "root" .root "component" "server" "suffix" .suffix "annotations" $service.annotations) | nindent 2 }}
spec:
  type: {{ $type }}
  {{- if ne $type "ClusterIP" }}
  externalTrafficPolicy: {{ $service.externalTrafficPolicy }}
  {{- end }}
  {{- if eq $type "LoadBalancer" }}
  {{- with $service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with $service.trafficDistribution }}
  trafficDistribution: {{ . }}
  {{- end }}
  selector:
    {{- include "triptych.selectorLabels" (dict "root" .root "component" "server") | nindent 4 }}
  ports:
    - {name: http, port: {{ $service.httpPort }}, targetPort: 8000, protocol: TCP, appProtocol: http}
    - {name: grpc, port: {{ $service.grpcPort }}, targetPort: 8001, protocol: TCP, appProtocol: {{ include "triptych.grpcProtocol" .root }}}
{{- end -}}
