{{/* Settings of the pods that call the server: tests and load test. */}}
{{- define "triptych.callerPod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: Never
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A pod of `helm test`: arguments root, name, command. */}}
{{- define "triptych.testPod" -}}
apiVersion: v1
kind: Pod
metadata:
  {{- $hook := dict "helm.sh/hook" "test" "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" }}
  {{- include "triptych.metadata" (dict "root" .root "component" "test" "suffix" (printf "test-%s" .name) "annotations" $hook) | nindent 2 }}
spec:
  {{- include "triptych.callerPod" .root | nindent 2 }}
  activeDeadlineSeconds: {{ .root.Values.tests.timeoutSeconds }}
  containers:
    - name: test
      image: {{ include "triptych.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      terminationMessagePolicy: FallbackToLogsOnError
      command:
        {{- toYaml .command | nindent 8 }}
      resources:
        requests: {cpu: 50m, memory: 64Mi}
        limits: {memory: 128Mi}
      securityContext:
        {{- toYaml .root.Values.containerSecurityContext | nindent 8 }}
      volumeMounts:
        - {name: scripts, mountPath: /opt/triptych/scripts, readOnly: true}
  volumes:
    - name: scripts
      configMap: {name: {{ include "triptych.fullname" .root }}-scripts, defaultMode: 0444}
{{- end -}}

{{- define "triptych.httpUrl" -}}
http://{{ include "triptych.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.httpPort }}
{{- end -}}
