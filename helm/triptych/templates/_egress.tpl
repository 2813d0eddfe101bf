{{/* Port of a URL. */}}
{{- define "triptych.urlPort" -}}
{{- $url := urlParse . -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- end -}}

{{/* A rule for some peers. Arguments: to, ports. */}}
{{- define "triptych.egressRule" -}}
- to:
    {{- toYaml .to | nindent 4 }}
  ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end -}}

{{/* Rules of the connections that the pod opens: those that the values need, and those of networkPolicy.egress. */}}
{{- define "triptych.egress" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $weaviate := .Values.catalogue.weaviate -}}
{{- $usesWeaviate := and .Values.catalogue.enabled (eq .Values.catalogue.engine "weaviate") $policy.weaviate -}}
{{- $usesCollector := and .Values.triton.tracing.enabled $policy.collector -}}
{{- if and $policy.dns (or (include "triptych.isBucket" .) $usesWeaviate $usesCollector) }}
- to:
    {{- toYaml $policy.dns | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}
{{- if include "triptych.isBucket" . }}
{{ include "triptych.storeEgress" . | trim }}
{{- end }}
{{- if $usesWeaviate }}
{{ include "triptych.egressRule" (dict "to" $policy.weaviate "ports" (list (include "triptych.urlPort" $weaviate.url) $weaviate.grpcPort)) }}
{{- end }}
{{- if $usesCollector }}
{{ include "triptych.egressRule" (dict "to" $policy.collector "ports" (list (include "triptych.urlPort" .Values.triton.tracing.url))) }}
{{- end }}
{{- with $policy.egress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "triptych.storeEgress" -}}
{{- $model := .Values.modelRepository -}}
{{- $port := eq $model.type "s3" | ternary (include "triptych.urlPort" ($model.s3.endpoint | default "https://store")) "443" -}}
{{- if .Values.networkPolicy.store }}
{{ include "triptych.egressRule" (dict "to" .Values.networkPolicy.store "ports" (list $port)) }}
{{- else }}
- ports:
    - {port: {{ $port }}, protocol: TCP}
{{- end }}
{{- if not (get $model $model.type).existingSecret }}
# Without a Secret, the fetcher gets its cloud identity from the node's metadata service.
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
    - ipBlock: {cidr: 169.254.170.23/32}
  ports:
    - {port: 80, protocol: TCP}
{{- end }}
{{- end -}}
