{{/* A pod of `helm test`. Arguments: root, name, command. */}}
{{- define "triptych.testPod" -}}
apiVersion: v1
kind: Pod
metadata:
  {{- $hook := dict "helm.sh/hook" "test" "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" }}
  {{- include "triptych.metadata" (dict "root" .root "component" "test" "suffix" (printf "test-%s" .name) "annotations" $hook) | nindent 2 }}
spec:
  {{- include "triptych.commonPodSettings" .root | nindent 2 }}
  restartPolicy: Never
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
        - {{ include "triptych.scriptMount" .root }}
  volumes:
    - {{ include "triptych.scriptVolume" .root }}
{{- end -}}
