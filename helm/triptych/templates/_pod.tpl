{{/* Pod template of the server, for a Deployment, a StatefulSet and a Rollout. */}}
{{- define "triptych.podTemplate" -}}
metadata:
  labels:
    {{- $labels := include "triptych.podLabels" (dict "root" . "component" "server") | fromYaml }}
    {{- $_ := set $labels "triptych-release" (include "triptych.shortRelease" .) }}
    {{- include "triptych.strings" (merge $labels .Values.podLabels) | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: triton
    # A changed script or front restarts the pods.
    triptych-scripts: {{ include "triptych.scripts" . | sha256sum }}
    {{- if .Values.front.enabled }}
    triptych-front: {{ include "triptych.frontData" . | sha256sum }}
    {{- end }}
    {{- with .Values.modelRepository.release }}
    triptych-release: {{ . | quote }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- include "triptych.strings" . | nindent 4 }}
    {{- end }}
spec:
  {{- include "triptych.podSettings" . | nindent 2 }}
  {{- $modelContainers := include "triptych.modelContainers" . }}
  {{- if or .Values.extraInitContainers $modelContainers .Values.front.enabled }}
  initContainers:
    {{- with .Values.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with $modelContainers }}
    {{- trim . | nindent 4 }}
    {{- end }}
    {{- if .Values.front.enabled }}
    {{- include "triptych.frontContainer" . | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: triton
      image: {{ include "triptych.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: {{ include "triptych.serverCommand" . }}
      workingDir: /models
      # `kubectl describe pod` shows the last log lines of a failed container.
      terminationMessagePolicy: FallbackToLogsOnError
      args:
        {{- include "triptych.serverArguments" . | nindent 8 }}
      env:
        {{- include "triptych.serverEnvironment" . | nindent 8 }}
      {{- with .Values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if not .Values.front.enabled }}
      ports:
        {{- include "triptych.publicPorts" . | nindent 8 }}
      {{- end }}
      {{- include "triptych.probes" . | nindent 6 }}
      {{- with .Values.lifecycle.preStopSleepSeconds }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ . }}}
      {{- end }}
      resources:
        {{- include "triptych.serverResources" . | nindent 8 }}
      securityContext:
        {{- toYaml .Values.containerSecurityContext | nindent 8 }}
      volumeMounts:
        {{- include "triptych.mounts" . | nindent 8 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "triptych.volumes" . | nindent 4 }}
{{- end -}}

{{/* Settings of every pod of the chart. */}}
{{- define "triptych.commonPodSettings" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with (include "triptych.pullSecrets" . | fromYaml).names }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Settings of the server's pod, without containers and volumes. */}}
{{- define "triptych.podSettings" -}}
serviceAccountName: {{ include "triptych.serviceAccountName" . | quote }}
{{ include "triptych.commonPodSettings" . }}
{{- with .Values.lifecycle }}
# preStop sleep {{ .preStopSleepSeconds }} s + exit timeout of the server {{ $.Values.triton.exitTimeoutSeconds }} s + margin of at least 5 s.
terminationGracePeriodSeconds: {{ .terminationGracePeriodSeconds }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels:
        {{- include "triptych.selectorLabels" (dict "root" $ "component" "server") | nindent 8 }}
    {{- if ne $.Values.workload.kind "StatefulSet" }}
    # Kubernetes spreads the pods of each revision separately.
    matchLabelKeys: [{{ eq $.Values.workload.kind "Rollout" | ternary "rollouts-pod-template-hash" "pod-template-hash" }}]
    {{- end }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- include "triptych.strings" . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . | quote }}
{{- end }}
{{- if .Values.gpu.enabled }}
{{- with .Values.gpu.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- if .Values.gpu.dra.enabled }}
resourceClaims:
  - {name: gpu, resourceClaimTemplateName: {{ include "triptych.fullname" . }}-gpu}
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.serverResources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if .Values.gpu.enabled -}}
{{- if .Values.gpu.dra.enabled -}}
{{- $_ := set $resources "claims" (list (dict "name" "gpu")) -}}
{{- else -}}
{{- $limits := deepCopy ($resources.limits | default dict) -}}
{{- $_ := set $limits .Values.gpu.resourceName .Values.gpu.count -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- end -}}
{{ toYaml $resources }}
{{- end -}}

{{- define "triptych.mounts" -}}
- {name: shm, mountPath: /dev/shm}
- {name: tmp, mountPath: /tmp}
{{- include "triptych.modelMount" . }}
- {{ include "triptych.scriptMount" . }}
{{- if include "triptych.adminSecret" . }}
- {name: admin-key, mountPath: /etc/triptych/admin, readOnly: true}
{{- end }}
{{- if and .Values.triton.grpc.tls.existingSecret (not .Values.front.enabled) }}
- {name: tls, mountPath: /etc/triptych/tls, readOnly: true}
{{- end }}
{{- if .Values.gpu.enabled }}
- {name: engine-cache, mountPath: /var/cache/triptych}
{{- end }}
{{- with .Values.catalogue }}
{{- if .enabled }}
# The mount is a folder without subPath: Kubernetes updates it when the Secret changes.
- {name: catalogue-key, mountPath: /etc/triptych/catalogue, readOnly: true}
{{- if eq .engine "embedded" }}
- {name: catalogue, mountPath: /var/lib/triptych}
{{- else if .weaviate.apiKey.existingSecret }}
- {name: weaviate-key, mountPath: /etc/triptych/weaviate, readOnly: true}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "triptych.volumes" -}}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.shm.sizeLimit }}}
- name: tmp
  emptyDir: {sizeLimit: {{ .Values.tmp.sizeLimit }}}
{{- include "triptych.modelVolume" . }}
- {{ include "triptych.scriptVolume" . }}
{{- if .Values.front.enabled }}
- {name: front, configMap: {name: {{ include "triptych.fullname" . }}-front, defaultMode: 0444}}
- {name: front-admin, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
{{- end }}
{{- with include "triptych.adminSecret" . }}
- name: admin-key
  secret:
    secretName: {{ . | quote }}
    items: [{key: {{ $.Values.triton.restrictedApis.secretKey | quote }}, path: key}]
    defaultMode: 0440
{{- end }}
{{- with .Values.triton.grpc.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- if .Values.gpu.enabled }}
- name: engine-cache
  {{- if .Values.gpu.engineCache.existingClaim }}
  persistentVolumeClaim: {claimName: {{ .Values.gpu.engineCache.existingClaim | quote }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.gpu.engineCache.sizeLimit }}}
  {{- end }}
{{- end }}
{{- with .Values.catalogue }}
{{- if .enabled }}
{{- if and (eq .engine "embedded") .persistence.existingClaim }}
- name: catalogue
  persistentVolumeClaim: {claimName: {{ .persistence.existingClaim | quote }}}
{{- end }}
{{- if and (eq .engine "weaviate") .weaviate.apiKey.existingSecret }}
- name: weaviate-key
  secret: {secretName: {{ .weaviate.apiKey.existingSecret | quote }}, defaultMode: 0440}
{{- end }}
- name: catalogue-key
  secret: {secretName: {{ .key.existingSecret | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
