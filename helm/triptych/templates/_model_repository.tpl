{{/* First 12 digits of the release's digest. */}}
{{- define "triptych.shortRelease" -}}
{{- with .Values.modelRepository.release }}{{ trimPrefix "sha256:" . | trunc 12 }}{{ else }}in-image{{ end -}}
{{- end -}}

{{/* Folder that `triptych publish` writes the release to. */}}
{{- define "triptych.releaseFolder" -}}
releases/{{ .Values.modelRepository.name }}-{{ include "triptych.shortRelease" . }}
{{- end -}}

{{- define "triptych.isBucket" -}}
{{- if has .Values.modelRepository.type (list "s3" "gcs") -}}true{{- end -}}
{{- end -}}

{{/* Name of the Secret with a Google service account; empty if the bucket needs none. */}}
{{- define "triptych.gcsSecret" -}}
{{- with .Values.modelRepository -}}
{{- if eq .type "gcs" }}{{ .gcs.existingSecret }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Volume of the models, unless the image contains them. */}}
{{- define "triptych.modelVolume" -}}
{{- $model := .Values.modelRepository -}}
{{- if eq $model.type "pvc" }}
- name: models
  persistentVolumeClaim: {claimName: {{ $model.pvc.existingClaim | quote }}, readOnly: true}
{{- else if eq $model.type "ociVolume" }}
- name: models
  image: {reference: {{ $model.ociVolume.reference | quote }}, pullPolicy: {{ $model.ociVolume.pullPolicy }}}
{{- else if ne $model.type "image" }}
- name: models
  emptyDir: {sizeLimit: {{ $model.sizeLimit }}}
{{- end }}
{{- with include "triptych.gcsSecret" . }}
- name: bucket-credentials
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{/* Read-only mount of the models. */}}
{{- define "triptych.modelMount" -}}
{{- $model := .Values.modelRepository -}}
{{- if eq $model.type "pvc" }}
- name: models
  mountPath: /models
  subPath: {{ list $model.pvc.path (include "triptych.releaseFolder" .) | compact | join "/" }}
  readOnly: true
{{- else if ne $model.type "image" }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- end -}}

{{/* Init containers that fetch the release and verify it before the server starts. */}}
{{- define "triptych.modelContainers" -}}
{{- $model := .Values.modelRepository -}}
{{- if include "triptych.isBucket" . }}
- name: fetch-release
  image: {{ include "triptych.otherImage" (dict "root" . "image" $model.fetcher.image) | quote }}
  terminationMessagePolicy: FallbackToLogsOnError
  command: [rclone]
  args:
    {{- include "triptych.fetchArguments" . | nindent 4 }}
  env:
    - {name: HOME, value: /tmp}
    {{- if and (eq $model.type "s3") $model.s3.existingSecret }}
    {{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
    - name: {{ . | quote }}
      valueFrom: {secretKeyRef: {name: {{ $model.s3.existingSecret | quote }}, key: {{ . | quote }}}}
    {{- end }}
    {{- end }}
  resources:
    {{- toYaml $model.fetcher.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.containerSecurityContext | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: tmp, mountPath: /tmp}
    {{- if include "triptych.gcsSecret" . }}
    - {name: bucket-credentials, mountPath: /etc/triptych/bucket, readOnly: true}
    {{- end }}
{{- else if eq $model.type "initContainer" }}
- name: fetch-release
  image: {{ include "triptych.otherImage" (dict "root" . "image" $model.initContainer.image) | quote }}
  terminationMessagePolicy: FallbackToLogsOnError
  {{- with $model.initContainer.command }}
  command:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $model.initContainer.args }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  env:
    - {name: HOME, value: /tmp}
    - {name: TRIPTYCH_RELEASE, value: {{ $model.release | quote }}}
    {{- with $model.initContainer.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $model.initContainer.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  resources:
    {{- toYaml $model.initContainer.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.containerSecurityContext | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /models}
    - {name: tmp, mountPath: /tmp}
{{- end }}
{{- if and $model.verify (ne $model.type "image") }}
- name: verify-release
  image: {{ include "triptych.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [python3, /opt/triptych/scripts/verify_release.py]
  terminationMessagePolicy: FallbackToLogsOnError
  args: [/models, {{ $model.release | quote }}]
  resources:
    {{- toYaml $model.fetcher.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.containerSecurityContext | nindent 4 }}
  volumeMounts:
    {{- include "triptych.modelMount" . | trim | nindent 4 }}
    - {{ include "triptych.scriptMount" . }}
{{- end }}
{{- end -}}

{{/* Arguments of rclone. */}}
{{- define "triptych.fetchArguments" -}}
{{- $model := .Values.modelRepository -}}
- copy
- --config=
- --retries=5
- --log-level=INFO
{{- if eq $model.type "s3" }}
- --s3-provider={{ ternary "Other" "AWS" (ne $model.s3.endpoint "") }}
- --s3-env-auth
{{- with $model.s3.region }}
- --s3-region={{ . }}
{{- end }}
{{- with $model.s3.endpoint }}
- --s3-endpoint={{ . }}
{{- end }}
- ":s3:{{ list $model.s3.bucket $model.s3.prefix (include "triptych.releaseFolder" .) | compact | join "/" }}"
{{- else }}
- --gcs-bucket-policy-only
{{- if include "triptych.gcsSecret" . }}
- --gcs-service-account-file=/etc/triptych/bucket/credentials.json
{{- else }}
- --gcs-env-auth
{{- end }}
- ":gcs:{{ list $model.gcs.bucket $model.gcs.prefix (include "triptych.releaseFolder" .) | compact | join "/" }}"
{{- end }}
- /models
{{- end -}}
