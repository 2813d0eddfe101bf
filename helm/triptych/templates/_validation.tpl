{{/* Fails on values that would install and then not work. Each sentence says what to change; Helm prints all of them. */}}
{{- define "triptych.validate" -}}
{{- $forms := include "triptych.validate.forms" . | trim -}}
{{- if $forms }}{{ fail (printf "\n\nThe chart refuses these values:\n- %s\n" (splitList "\n" $forms | join "\n- ")) }}{{ end -}}
{{- $found := list -}}
{{- range list "names" "drain" "flags" "image" "modelRepository" "memory" "workload" "catalogue" "budget" "autoscaling" "monitoring" "routes" "canary" "extras" -}}
{{- range include (printf "triptych.validate.%s" .) $ | trim | splitList "\n" -}}
{{- if trim . }}{{ $found = append $found (trim .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $found }}{{ fail (printf "\n\nThe chart refuses these values:\n- %s\n" (join "\n- " $found)) }}{{ end -}}
{{- end -}}

{{- define "triptych.validate.names" -}}
{{- $name := include "triptych.fullname" . -}}
{{- if not (regexMatch "^[a-z]" $name) }}
the objects would have the name {{ $name }}, but the name of a Service starts with a letter. Use another release name, or set fullnameOverride.
{{- end }}
{{- with .Values.canary.route.service }}
{{- if eq . $name }}
canary.route.service is {{ . }}, the Service of this release itself. Set it to the Service of the second release.
{{- end }}
{{- end }}
{{- if eq .Values.service.httpPort .Values.service.grpcPort }}
service.httpPort and service.grpcPort are both {{ .Values.service.httpPort }}, but each port of a Service needs its own number. Change one of them.
{{- end }}
{{- end -}}

{{- define "triptych.validate.drain" -}}
{{- $sleep := int .Values.lifecycle.preStopSleepSeconds -}}
{{- $grace := int .Values.lifecycle.terminationGracePeriodSeconds -}}
{{- $exit := int .Values.triton.exitTimeoutSeconds -}}
{{- $needed := add $sleep $exit 5 -}}
{{- if lt $grace (int $needed) }}
lifecycle.terminationGracePeriodSeconds is {{ $grace }}, so Kubernetes kills the server before it exits: preStopSleepSeconds {{ $sleep }} + triton.exitTimeoutSeconds {{ $exit }} + 5 = {{ $needed }}. Set it to {{ $needed }} or more.
{{- end }}
{{- /* gRPC adds up to 10 % jitter to the connection age; endpoints need about 5 s to propagate. */ -}}
{{- with .Values.triton.grpc -}}
{{- $leaving := add 5 (div (add (mul .maxConnectionAgeSeconds 11) 9) 10) .maxConnectionAgeGraceSeconds -}}
{{- if and .maxConnectionAgeSeconds (lt $sleep (int $leaving)) }}
lifecycle.preStopSleepSeconds is {{ $sleep }}, so the server closes gRPC connections in use: 5 + 1.1 x triton.grpc.maxConnectionAgeSeconds {{ .maxConnectionAgeSeconds }} + maxConnectionAgeGraceSeconds {{ .maxConnectionAgeGraceSeconds }} = {{ $leaving }}. Set it to {{ $leaving }} or more, or reduce the connection age or its grace.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.validate.flags" -}}
{{- $triton := .Values.triton -}}
{{- $release := include "triptych.tritonRelease" $triton.version | int -}}
{{- if and $triton.metrics.histograms (lt $release 2601) }}
triton.metrics.histograms is true and needs Triton 26.01, but triton.version is {{ $triton.version }}. Set it to false, or build the image from a newer Triton.
{{- end }}
{{- if and $triton.http.maxInputBytes (lt $release 2506) }}
triton.http.maxInputBytes is {{ $triton.http.maxInputBytes | int64 }} and needs Triton 25.06, but triton.version is {{ $triton.version }}. Set it to 0, or build the image from a newer Triton.
{{- end }}
{{- if and $triton.http.maxInputBytes .Values.front.enabled (gt (int64 $triton.http.maxInputBytes) 67108864) }}
triton.http.maxInputBytes is {{ $triton.http.maxInputBytes | int64 }}, but the front refuses bodies over 67108864 bytes. Lower it.
{{- end }}
{{- if has "health" $triton.restrictedApis.apis }}
triton.restrictedApis.apis contains health, but the kubelet's probes send no key, so Kubernetes would restart every pod repeatedly. Remove it.
{{- end }}
{{- if has "inference" $triton.restrictedApis.apis }}
triton.restrictedApis.apis contains inference, but the deep probe and `helm test` send no key and would fail. Remove it, and restrict callers with networkPolicy.callers or with client certificates (triton.grpc.tls.mutual).
{{- end }}
{{- if and $triton.tracing.enabled (not $triton.tracing.url) }}
triton.tracing.enabled is true, but triton.tracing.url is empty. Set it to an OTLP/HTTP endpoint, such as http://collector:4318/v1/traces.
{{- end }}
{{- with .Values.networkPolicy }}
{{- if and $triton.tracing.enabled .enabled (not .collector) (not .egress) }}
triton.tracing.enabled is true, but networkPolicy.collector is empty, so no trace reaches the collector. Set it to the peers of triton.tracing.url, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}].
{{- end }}
{{- end }}
{{- if and $triton.grpc.tls.mutual (not $triton.grpc.tls.existingSecret) }}
triton.grpc.tls.mutual is true, but triton.grpc.tls.existingSecret is empty. Set it to a Secret with tls.crt, tls.key and ca.crt.
{{- end }}
{{- $reserved := include "triptych.reservedFlags" . | fromYaml -}}
{{- range $triton.extraArgs }}
{{- $flag := regexFind "^[a-z0-9-]+" (trimPrefix "--" .) -}}
{{- if hasKey $reserved $flag }}
triton.extraArgs contains {{ . }}, which the chart sets itself. Remove it; the value that sets it: {{ get $reserved $flag }}.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.validate.image" -}}
{{- $images := dict "modelRepository.fetcher.image" .Values.modelRepository.fetcher.image -}}
{{- if eq .Values.image.tag "latest" }}
image.tag is latest, which names a different image over time, so a rollback cannot restore the previous one. Set it to the tag that `make image` printed.
{{- end }}
{{- if .Values.loadTest.enabled }}
{{- if .Values.loadTest.image }}
{{- $_ := set $images "loadTest.image" .Values.loadTest.image }}
{{- else }}
loadTest.enabled is true, but loadTest.image is empty. Set it to an image built from loadtest/Dockerfile.
{{- end }}
{{- end }}
{{- if eq .Values.modelRepository.type "initContainer" }}
{{- if .Values.modelRepository.initContainer.image }}
{{- $_ := set $images "modelRepository.initContainer.image" .Values.modelRepository.initContainer.image }}
{{- else }}
modelRepository.type is initContainer, but modelRepository.initContainer.image is empty. Set it to an image that writes the release to /models.
{{- end }}
{{- end }}
{{- range $key, $image := $images }}
{{- if not (regexMatch "(:[^/:]+|@sha256:[0-9a-f]{64})$" $image) }}
{{ $key }} is {{ $image }}, without tag or digest. Add a digest @sha256:..., or a tag.
{{- else if hasSuffix ":latest" $image }}
{{ $key }} is {{ $image }}, which names a different image over time. Use a digest @sha256:..., or the tag of a version.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.validate.modelRepository" -}}
{{- $model := .Values.modelRepository -}}
{{- if and (ne $model.type "image") (not $model.release) }}
modelRepository.type is {{ $model.type }}, but modelRepository.release is empty. Set it to the digest sha256:... that `triptych release` printed.
{{- end }}
{{- if and (eq $model.type "pvc") (not $model.pvc.existingClaim) }}
modelRepository.type is pvc, but modelRepository.pvc.existingClaim is empty. Set it to the claim that `triptych publish` wrote to.
{{- end }}
{{- if and (include "triptych.isBucket" .) (not (get $model $model.type).bucket) }}
modelRepository.type is {{ $model.type }}, but modelRepository.{{ $model.type }}.bucket is empty. Set it to the bucket that `triptych publish` wrote to.
{{- end }}
{{- if eq $model.type "ociVolume" }}
{{- if not (regexMatch "@sha256:[0-9a-f]{64}$" $model.ociVolume.reference) }}
modelRepository.ociVolume.reference is {{ $model.ociVolume.reference | quote }}, without a digest. Set it to registry/name@sha256:... .
{{- end }}
{{- if semverCompare "<1.35-0" .Capabilities.KubeVersion.Version }}
modelRepository.type is ociVolume, which needs Kubernetes 1.35; the cluster is {{ .Capabilities.KubeVersion.Version }}. Set it to pvc, s3 or gcs.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.validate.memory" -}}
{{- $limit := (.Values.resources.limits | default dict).memory -}}
{{- if and $limit (ge (include "triptych.bytes" .Values.shm.sizeLimit | int64) (include "triptych.bytes" $limit | int64)) }}
shm.sizeLimit is {{ .Values.shm.sizeLimit }}, but resources.limits.memory is {{ $limit }} and includes /dev/shm, so a full /dev/shm kills the server. Raise the limit, or lower shm.sizeLimit.
{{- end }}
{{- range $key, $resources := dict "resources" .Values.resources "front.resources" .Values.front.resources }}
{{- range $what, $unit := dict "memory" "triptych.bytes" "cpu" "triptych.millicores" }}
{{- $asked := get ($resources.requests | default dict) $what }}
{{- $allowed := get ($resources.limits | default dict) $what }}
{{- if and $asked $allowed (gt (include $unit $asked | int64) (include $unit $allowed | int64)) }}
{{ $key }}.requests.{{ $what }} is {{ $asked }}, more than {{ $key }}.limits.{{ $what }} {{ $allowed }}. Lower the request, or raise the limit.
{{- end }}
{{- end }}
{{- end }}
{{- with (.Values.front.resources.limits | default dict).memory }}
{{- if and $.Values.front.enabled (lt (include "triptych.bytes" . | int64) 268435456) }}
front.resources.limits.memory is {{ . }}, but the front holds whole requests in memory and needs 256Mi. Set it to 256Mi or more, 1280Mi for full load.
{{- end }}
{{- end }}
{{- $cache := mul .Values.triton.answerCache.sizeMb 1048576 -}}
{{- if and $cache (le (include "triptych.bytes" .Values.tmp.sizeLimit | int64) $cache) }}
tmp.sizeLimit is {{ .Values.tmp.sizeLimit }}, but the answer cache of {{ .Values.triton.answerCache.sizeMb }} MB in /tmp fills it, and Kubernetes evicts the pod. Raise tmp.sizeLimit, or lower triton.answerCache.sizeMb.
{{- end }}
{{- end -}}

{{- define "triptych.validate.workload" -}}
{{- $profile := .Values.triton.modelConfigName -}}
{{- if and (eq $profile "gpu") (not .Values.gpu.enabled) }}
triton.modelConfigName is gpu, but gpu.enabled is false. Set gpu.enabled to true, or triton.modelConfigName to cpu.
{{- end }}
{{- if and .Values.gpu.enabled (ne $profile "gpu") }}
gpu.enabled is true, but triton.modelConfigName is {{ $profile | quote }}, which does not use the GPU. Set triton.modelConfigName to gpu, or gpu.enabled to false.
{{- end }}
{{- if and .Values.gpu.enabled .Values.gpu.dra.enabled (semverCompare "<1.34-0" .Capabilities.KubeVersion.Version) }}
gpu.dra.enabled is true, which needs Kubernetes 1.34; the cluster is {{ .Capabilities.KubeVersion.Version }}. Set it to false, and gpu.resourceName to the resource of the device plugin.
{{- end }}
{{- if and .Values.gpu.dra.enabled (not .Values.gpu.enabled) }}
gpu.dra.enabled is true, but gpu.enabled is false, so the pods claim no device. Set gpu.enabled to true.
{{- end }}
{{- with .Values.service.trafficDistribution }}
{{- $since := eq . "PreferClose" | ternary "1.31" "1.34" }}
{{- if semverCompare (printf "<%s-0" $since) $.Capabilities.KubeVersion.Version }}
service.trafficDistribution is {{ . }}, which needs Kubernetes {{ $since }}; the cluster is {{ $.Capabilities.KubeVersion.Version }}. Set it to "".
{{- end }}
{{- end }}
{{- $start := add (mul .Values.probes.startup.periodSeconds .Values.probes.startup.failureThreshold) .Values.workload.minReadySeconds -}}
{{- if and (ne .Values.workload.kind "StatefulSet") (le (int .Values.workload.progressDeadlineSeconds) (int $start)) }}
workload.progressDeadlineSeconds is {{ .Values.workload.progressDeadlineSeconds }}, so a rollout may fail while a pod still starts: probes.startup.periodSeconds {{ .Values.probes.startup.periodSeconds }} x failureThreshold {{ .Values.probes.startup.failureThreshold }} + workload.minReadySeconds {{ .Values.workload.minReadySeconds }} = {{ $start }}. Set it to more than {{ $start }}.
{{- end }}
{{- $surge := .Values.workload.maxSurge | toString | trimSuffix "%" -}}
{{- $missing := .Values.workload.maxUnavailable | toString | trimSuffix "%" -}}
{{- if and (ne .Values.workload.kind "StatefulSet") (eq $surge "0") (eq $missing "0") }}
workload.maxSurge and workload.maxUnavailable are both 0, so a rollout can replace no pod. Set one of them to 1 or more.
{{- end }}
{{- end -}}

{{- define "triptych.validate.catalogue" -}}
{{- with .Values.catalogue -}}
{{- if .enabled }}
{{- if and (eq .engine "weaviate") (not .weaviate.url) }}
catalogue.engine is weaviate, but catalogue.weaviate.url is empty. Set it to the address of the cluster, such as http://weaviate:8080.
{{- end }}
{{- if and (eq .engine "weaviate") $.Values.networkPolicy.enabled (not $.Values.networkPolicy.weaviate) (not $.Values.networkPolicy.egress) }}
catalogue.engine is weaviate, but networkPolicy.weaviate is empty, so no pod reaches the cluster. Set it to the peers of catalogue.weaviate.url, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: search}}}].
{{- end }}
{{- if and (eq .engine "embedded") .weaviate.url }}
catalogue.weaviate.url is {{ .weaviate.url }}, but catalogue.engine is embedded, which does not use it. Set catalogue.engine to weaviate, or catalogue.weaviate.url to "".
{{- end }}
{{- if eq .engine "embedded" }}
{{- if ne $.Values.workload.kind "StatefulSet" }}
catalogue.enabled is true, but workload.kind is {{ $.Values.workload.kind }}, which starts a new pod before it stops the old one; only one pod can use the volume. Set workload.kind to StatefulSet.
{{- end }}
{{- if or (include "triptych.isAutoscaled" $) (ne (int $.Values.workload.replicas) 1) }}
catalogue.enabled is true with more than one pod: each pod would have its own catalogue, and a write reaches only one of them. Set workload.replicas to 1, disable autoscaling, and install a second release of the chart for recognition.
{{- end }}
{{- end }}
{{- if not .key.existingSecret }}
catalogue.key.existingSecret is empty, so nobody can write to the catalogue. Set it to a Secret; kubectl create secret generic triptych-catalogue --from-literal=key=$(openssl rand -hex 32) creates one.
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.validate.budget" -}}
{{- if .Values.pdb.enabled -}}
{{- $pods := include "triptych.minimumPods" . | int -}}
{{- $minimum := .Values.pdb.minAvailable | toString -}}
{{- $missing := .Values.pdb.maxUnavailable | toString -}}
{{- if and (ne $minimum "") (ne $missing "") }}
pdb.minAvailable and pdb.maxUnavailable are both set, but Kubernetes accepts only one. Set one of them to "".
{{- else if and (eq $minimum "") (eq $missing "") }}
pdb.enabled is true, but pdb.maxUnavailable and pdb.minAvailable are both empty. Set pdb.maxUnavailable to 1.
{{- else if and (ne $minimum "") (ge (include "triptych.budgetPods" (dict "value" $minimum "pods" $pods) | int) $pods) }}
pdb.minAvailable is {{ $minimum }} of {{ $pods }} {{ eq $pods 1 | ternary "pod" "pods" }}, which blocks the drain of every node. Lower it, or use pdb.maxUnavailable: 1.
{{- else if and (eq $minimum "") (eq (trimSuffix "%" $missing) "0") }}
pdb.maxUnavailable is {{ $missing }}, which blocks the drain of every node. Set it to 1 or more.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.validate.autoscaling" -}}
{{- $scaling := .Values.autoscaling -}}
{{- $hpa := $scaling.hpa.enabled -}}
{{- $keda := $scaling.keda.enabled -}}
{{- $usesPrometheus := or $scaling.inFlight.enabled $scaling.queueWait.enabled -}}
{{- if and $hpa $keda }}
autoscaling.hpa.enabled and autoscaling.keda.enabled are both true, but KEDA creates a HorizontalPodAutoscaler itself, and two of them conflict. Set one to false.
{{- end }}
{{- if and (or $hpa $keda) (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
autoscaling.minReplicas is {{ $scaling.minReplicas }}, more than autoscaling.maxReplicas {{ $scaling.maxReplicas }}. Lower minReplicas, or raise maxReplicas.
{{- end }}
{{- if and $hpa (eq (int $scaling.minReplicas) 0) }}
autoscaling.minReplicas is 0, but a HorizontalPodAutoscaler cannot scale up from 0 pods. Set it to 1 or more, or use autoscaling.keda with an extra trigger.
{{- end }}
{{- if and $keda (eq (int $scaling.minReplicas) 0) (not $scaling.keda.extraTriggers) }}
autoscaling.minReplicas is 0, but all triggers use metrics of Triton, which has none without a pod. Set it to 1 or more, or add a trigger on the callers' gateway or queue to autoscaling.keda.extraTriggers.
{{- end }}
{{- if and $hpa (not $usesPrometheus) (not $scaling.hpa.cpuFallback.enabled) }}
autoscaling.hpa.enabled is true, but every metric is disabled. Enable autoscaling.inFlight, autoscaling.queueWait or autoscaling.hpa.cpuFallback.
{{- end }}
{{- if and $hpa $scaling.hpa.cpuFallback.enabled (not (.Values.resources.requests | default dict).cpu) }}
autoscaling.hpa.cpuFallback is a percentage of resources.requests.cpu, which is empty. Set resources.requests.cpu, or disable the fallback.
{{- end }}
{{- if and $keda (not $usesPrometheus) (not $scaling.keda.extraTriggers) }}
autoscaling.keda.enabled is true, but no trigger is enabled. Enable autoscaling.inFlight or autoscaling.queueWait, or add a trigger to autoscaling.keda.extraTriggers.
{{- end }}
{{- if and $keda $usesPrometheus (not $scaling.keda.prometheusAddress) }}
autoscaling.keda.prometheusAddress is empty. Set it to the Prometheus that scrapes the pods, such as http://prometheus.monitoring:9090.
{{- end }}
{{- end -}}

{{- define "triptych.validate.monitoring" -}}
{{- $monitoring := .Values.monitoring -}}
{{- if and $monitoring.podMonitor.enabled $monitoring.serviceMonitor.enabled }}
monitoring.podMonitor.enabled and monitoring.serviceMonitor.enabled are both true, so Prometheus would count every series twice. Disable monitoring.serviceMonitor.
{{- end }}
{{- range $what := list "rules" "dashboards" }}
{{- if and (get $monitoring $what).enabled (not ($.Files.Glob (printf "files/%s/*" $what))) }}
monitoring.{{ $what }}.enabled is true, but this copy of the chart contains no {{ $what }}. Run `make generate` in the repository, and package the chart again.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.validate.routes" -}}
{{- range $name, $route := .Values.gatewayApi }}
{{- if and $route.enabled (not $route.parentRefs) }}
gatewayApi.{{ $name }}.enabled is true, but parentRefs is empty, so no Gateway accepts the route. Add one, such as [{name: public, namespace: gateways}].
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
ingress.enabled is true, but ingress.hosts is empty. Add the host names.
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.networkPolicy.callers (not .Values.networkPolicy.callerPorts) }}
networkPolicy.callerPorts is empty, which Kubernetes treats as every port. Set it to [http, grpc] or one of them, or set networkPolicy.callers to [].
{{- end }}
{{- end -}}

{{- define "triptych.validate.canary" -}}
{{- $canary := .Values.canary -}}
{{- $hasRoute := or .Values.gatewayApi.httpRoute.enabled .Values.gatewayApi.grpcRoute.enabled -}}
{{- if eq .Values.workload.kind "Rollout" }}
{{- if and $canary.rollout.useRoutes (not $hasRoute) }}
canary.rollout.useRoutes is true, but no route is enabled. Enable gatewayApi.httpRoute or gatewayApi.grpcRoute.
{{- end }}
{{- if and $canary.rollout.analysis.enabled (not $canary.rollout.analysis.prometheusAddress) }}
canary.rollout.analysis.prometheusAddress is empty. Set it to the Prometheus that scrapes the pods, such as http://prometheus.monitoring:9090.
{{- end }}
{{- if and $canary.rollout.useRoutes $canary.route.service }}
canary.rollout.useRoutes is true and canary.route.service is {{ $canary.route.service }}, but only one of them can set the weights of the routes. Set canary.route.service to "".
{{- end }}
{{- else if or $canary.rollout.useRoutes $canary.rollout.analysis.enabled }}
canary.rollout requires Argo Rollouts, but workload.kind is {{ .Values.workload.kind }}. Set workload.kind to Rollout, or use canary.route.
{{- end }}
{{- if and $canary.route.service (not $hasRoute) }}
canary.route.service is {{ $canary.route.service }}, but no route is enabled. Enable gatewayApi.httpRoute or gatewayApi.grpcRoute.
{{- end }}
{{- if and $canary.route.weightPercent (not $canary.route.service) }}
canary.route.weightPercent is {{ $canary.route.weightPercent }}, but canary.route.service is empty. Set it to the Service of the second release.
{{- end }}
{{- end -}}

{{- define "triptych.validate.extras" -}}
{{- $names := list "HOME" "TMPDIR" "PYTHONPATH" "TRIPTYCH_CACHE_MB" "TRIPTYCH_CATALOGUE_DIR" "TRIPTYCH_CATALOGUE_KEY_FILE" "TRIPTYCH_CATALOGUE_WEAVIATE" "TRIPTYCH_CATALOGUE_WEAVIATE_GRPC" "TRIPTYCH_CATALOGUE_WEAVIATE_REPLICAS" "TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE" -}}
{{- range (include "triptych.extraEnv" . | fromYaml).variables }}
{{- if has .name $names }}
extraEnv contains {{ .name }}, which the chart sets itself. Remove it{{ eq .name "TRIPTYCH_CACHE_MB" | ternary " and use triton.answerCache.sizeMb" "" }}{{ hasPrefix "TRIPTYCH_CATALOGUE" .name | ternary " and use catalogue" "" }}.
{{- else if eq .name "TRIPTYCH_CATALOGUE_OPEN" }}
extraEnv contains TRIPTYCH_CATALOGUE_OPEN, which lets every caller write to the catalogue. Remove it, and set catalogue.key.existingSecret.
{{- end }}
{{- end }}
{{- range .Values.extraVolumes }}
{{- if has .name (list "shm" "tmp" "models" "scripts" "front" "front-admin" "admin-key" "tls" "engine-cache" "bucket-credentials" "catalogue" "catalogue-key" "weaviate-key") }}
extraVolumes contains {{ .name }}, which is the name of a volume of the chart. Rename it.
{{- end }}
{{- end }}
{{- range .Values.extraVolumeMounts }}
{{- if has (trimSuffix "/" .mountPath) (list "/dev/shm" "/tmp" "/models" "/opt/triptych/scripts" "/etc/triptych/admin" "/etc/triptych/tls" "/var/cache/triptych" "/var/lib/triptych" "/etc/triptych/catalogue" "/etc/triptych/weaviate") }}
extraVolumeMounts contains {{ .mountPath }}, where the chart mounts its own volume. Use another mountPath.
{{- end }}
{{- end }}
{{- range concat .Values.extraContainers .Values.extraInitContainers }}
{{- if has .name (list "triton" "front" "fetch-release" "verify-release") }}
extraContainers or extraInitContainers contains {{ .name }}, which is the name of a container of the chart. Rename it.
{{- end }}
{{- end }}
{{- end -}}
