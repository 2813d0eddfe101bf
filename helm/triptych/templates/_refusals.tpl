{{/* What would install and then not work: each a sentence that says what to change. All are shown at once. */}}
{{- define "triptych.refusals" -}}
{{- $found := list -}}
{{- range list "names" "drain" "flags" "image" "modelRepository" "memory" "workload" "catalogue" "budget" "autoscaling" "monitoring" "routes" "canary" "extras" -}}
{{- range include (printf "triptych.refuse.%s" .) $ | trim | splitList "\n" -}}
{{- if trim . }}{{ $found = append $found (trim .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $found }}{{ fail (printf "\n\nThese values are refused:\n- %s\n" (join "\n- " $found)) }}{{ end -}}
{{- end -}}

{{- define "triptych.refuse.names" -}}
{{- $name := include "triptych.fullname" . -}}
{{- if not (regexMatch "^[a-z]" $name) }}
the objects would be called {{ $name }}, and the name of a Service begins with a letter. Install under another release name, or set fullnameOverride.
{{- end }}
{{- with .Values.canary.route.service }}
{{- if eq . $name }}
canary.route.service is {{ . }}, the Service of this very release. Set it to that of the second one.
{{- end }}
{{- end }}
{{- if eq .Values.service.httpPort .Values.service.grpcPort }}
service.httpPort and service.grpcPort are both {{ .Values.service.httpPort }}; a Service has one port of a number. Change one.
{{- end }}
{{- end -}}

{{- define "triptych.refuse.drain" -}}
{{- $sleep := int .Values.lifecycle.preStopSleepSeconds -}}
{{- $grace := int .Values.lifecycle.terminationGracePeriodSeconds -}}
{{- $exit := int .Values.triton.exitTimeoutSeconds -}}
{{- $needed := add $sleep $exit 5 -}}
{{- if lt $grace (int $needed) }}
lifecycle.terminationGracePeriodSeconds is {{ $grace }}, which kills the server before it has ended: preStopSleepSeconds {{ $sleep }} + triton.exitTimeoutSeconds {{ $exit }} + 5 make {{ $needed }}. Set it to {{ $needed }} or more.
{{- end }}
{{- /* gRPC lets a connection live 10 % longer than its age; 5 s pass until everyone knows that the pod leaves. */ -}}
{{- with .Values.triton.grpc -}}
{{- $leaving := add 5 (div (add (mul .maxConnectionAgeSeconds 11) 9) 10) .maxConnectionAgeGraceSeconds -}}
{{- if and .maxConnectionAgeSeconds (lt $sleep (int $leaving)) }}
lifecycle.preStopSleepSeconds is {{ $sleep }}, which cuts off gRPC callers: 5 + 1.1 x triton.grpc.maxConnectionAgeSeconds {{ .maxConnectionAgeSeconds }} + maxConnectionAgeGraceSeconds {{ .maxConnectionAgeGraceSeconds }} make {{ $leaving }}. Set it to {{ $leaving }} or more, or lower the two.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.refuse.flags" -}}
{{- $triton := .Values.triton -}}
{{- $release := include "triptych.release" $triton.version | int -}}
{{- if and $triton.metrics.histograms (lt $release 2601) }}
triton.metrics.histograms needs Triton 26.01, triton.version is {{ $triton.version }}. Set it to false, or build the image from a newer Triton.
{{- end }}
{{- if and $triton.http.maxInputBytes (lt $release 2506) }}
triton.http.maxInputBytes needs Triton 25.06, triton.version is {{ $triton.version }}. Set it to 0, or build the image from a newer Triton.
{{- end }}
{{- if and $triton.allowClientSharedMemory (lt $release 2604) }}
triton.allowClientSharedMemory needs Triton 26.04, triton.version is {{ $triton.version }}, which lets clients in always. Set it to false and take shared-memory out of triton.restrictedApis.apis, or build the image from a newer Triton.
{{- end }}
{{- if and $triton.allowClientSharedMemory (has "shared-memory" $triton.restrictedApis.apis) }}
triton.allowClientSharedMemory is true and triton.restrictedApis.apis has shared-memory, so clients without the key still cannot. Take one of the two back.
{{- end }}
{{- if has "health" $triton.restrictedApis.apis }}
triton.restrictedApis.apis has health, so the kubelet's probes would fail and every pod be restarted for ever. Take it out.
{{- end }}
{{- if has "inference" $triton.restrictedApis.apis }}
triton.restrictedApis.apis has inference, so the deep probe and `helm test` would fail: they have no key. Take it out, and let callers in by networkPolicy.callers or with TLS (triton.grpc.tls.mutual).
{{- end }}
{{- if and $triton.tracing.enabled (not $triton.tracing.url) }}
triton.tracing.enabled is true, but nothing says where to send traces. Set triton.tracing.url to an OTLP/HTTP endpoint such as http://collector:4318/v1/traces.
{{- end }}
{{- if and $triton.tracing.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) }}
triton.tracing.enabled is true, but networkPolicy lets no pod out, so no trace arrives. Add to networkPolicy.egress the collector of triton.tracing.url and DNS, such as [{to: [{namespaceSelector: {}}], ports: [{port: 4318, protocol: TCP}]}, {ports: [{port: 53, protocol: UDP}]}].
{{- end }}
{{- if and $triton.grpc.tls.mutual (not $triton.grpc.tls.existingSecret) }}
triton.grpc.tls.mutual is true without a certificate. Set triton.grpc.tls.existingSecret to a Secret with tls.crt, tls.key and ca.crt.
{{- end }}
{{- $own := include "triptych.ownFlags" . | fromYaml -}}
{{- range $triton.extraArgs }}
{{- $flag := regexFind "^[a-z0-9-]+" (trimPrefix "--" .) -}}
{{- if hasKey $own $flag }}
triton.extraArgs has {{ . }}, which the chart sets itself. Take it out; what decides it is: {{ get $own $flag }}.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.refuse.image" -}}
{{- $images := dict "modelRepository.fetcher.image" .Values.modelRepository.fetcher.image -}}
{{- if eq .Values.image.tag "latest" }}
image.tag is latest, which names another image every day, so no rollback finds the old one. Set it to the tag that `make image` printed.
{{- end }}
{{- if .Values.loadTest.enabled }}
{{- if .Values.loadTest.image }}
{{- $_ := set $images "loadTest.image" .Values.loadTest.image }}
{{- else }}
loadTest.enabled is true, but loadTest.image is empty. Set it to an image that holds the load test.
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
{{ $key }} is {{ $image }}, without tag or digest. Add one, best @sha256:... .
{{- else if hasSuffix ":latest" $image }}
{{ $key }} is {{ $image }}, another image every day. Name a version, best @sha256:... .
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.refuse.modelRepository" -}}
{{- $model := .Values.modelRepository -}}
{{- if and (ne $model.type "image") (not $model.release) }}
modelRepository.type is {{ $model.type }}, but modelRepository.release is empty: nothing says which release to serve. Set it to the digest sha256:... that `python -m export release` printed.
{{- end }}
{{- if and (eq $model.type "pvc") (not $model.pvc.existingClaim) }}
modelRepository.type is pvc, but modelRepository.pvc.existingClaim is empty. Set it to the claim that `python -m export publish` wrote to.
{{- end }}
{{- if and (has $model.type (list "s3" "gcs")) (not (get $model $model.type).bucket) }}
modelRepository.type is {{ $model.type }}, but modelRepository.{{ $model.type }}.bucket is empty. Set it to the bucket that `python -m export publish` wrote to.
{{- end }}
{{- if eq $model.type "ociVolume" }}
{{- if not (regexMatch "@sha256:[0-9a-f]{64}$" $model.ociVolume.reference) }}
modelRepository.ociVolume.reference is {{ $model.ociVolume.reference | quote }}, without a digest. Set it to registry/name@sha256:... .
{{- end }}
{{- if semverCompare "<1.35-0" .Capabilities.KubeVersion.Version }}
modelRepository.type is ociVolume, which needs Kubernetes 1.35; the cluster is {{ .Capabilities.KubeVersion.Version }}. Choose pvc, s3 or gcs.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.refuse.memory" -}}
{{- $limit := (.Values.resources.limits | default dict).memory -}}
{{- if and $limit (ge (include "triptych.bytes" .Values.shm.sizeLimit | int64) (include "triptych.bytes" $limit | int64)) }}
shm.sizeLimit is {{ .Values.shm.sizeLimit }} and resources.limits.memory {{ $limit }}: what lies in /dev/shm counts towards the limit, so a full one kills the server. Raise the limit, or lower shm.sizeLimit.
{{- end }}
{{- $requests := .Values.resources.requests | default dict -}}
{{- range $what, $unit := dict "memory" "triptych.bytes" "cpu" "triptych.millicores" }}
{{- $asked := get $requests $what }}
{{- $allowed := get ($.Values.resources.limits | default dict) $what }}
{{- if and $asked $allowed (gt (include $unit $asked | int64) (include $unit $allowed | int64)) }}
resources.requests.{{ $what }} is {{ $asked }}, more than resources.limits.{{ $what }} {{ $allowed }}. Lower the request, or raise the limit.
{{- end }}
{{- end }}
{{- $cache := mul .Values.triton.answerCache.sizeMb 1048576 -}}
{{- if and $cache (le (include "triptych.bytes" .Values.tmp.sizeLimit | int64) $cache) }}
tmp.sizeLimit is {{ .Values.tmp.sizeLimit }}, which the answer cache of {{ .Values.triton.answerCache.sizeMb }} MB fills, and the pod is evicted. Raise tmp.sizeLimit, or lower triton.answerCache.sizeMb.
{{- end }}
{{- end -}}

{{- define "triptych.refuse.workload" -}}
{{- if and (hasPrefix "gpu" .Values.triton.modelConfigName) (not .Values.gpu.enabled) }}
triton.modelConfigName is {{ .Values.triton.modelConfigName }}, which needs a GPU, and gpu.enabled is false. Set it to true, or choose the profile cpu.
{{- end }}
{{- if and .Values.gpu.enabled (has .Values.triton.modelConfigName (list "" "cpu" "cpu-native")) }}
gpu.enabled is true, but triton.modelConfigName {{ .Values.triton.modelConfigName | quote }} leaves the GPU idle. Set triton.modelConfigName to gpu or gpu-torch, or gpu.enabled to false.
{{- end }}
{{- if and .Values.gpu.enabled .Values.gpu.dra.enabled (semverCompare "<1.34-0" .Capabilities.KubeVersion.Version) }}
gpu.dra.enabled needs Kubernetes 1.34; the cluster is {{ .Capabilities.KubeVersion.Version }}. Set it to false and gpu.resourceName to what the device plugin offers.
{{- end }}
{{- if and .Values.gpu.dra.enabled (not .Values.gpu.enabled) }}
gpu.dra.enabled is true and gpu.enabled is false, so nothing is claimed. Set gpu.enabled to true.
{{- end }}
{{- with .Values.service.trafficDistribution }}
{{- $since := eq . "PreferClose" | ternary "1.31" "1.34" }}
{{- if semverCompare (printf "<%s-0" $since) $.Capabilities.KubeVersion.Version }}
service.trafficDistribution {{ . }} needs Kubernetes {{ $since }}; the cluster is {{ $.Capabilities.KubeVersion.Version }}. Leave it empty.
{{- end }}
{{- end }}
{{- $start := add (mul .Values.probes.startup.periodSeconds .Values.probes.startup.failureThreshold) .Values.workload.minReadySeconds -}}
{{- if and (ne .Values.workload.kind "StatefulSet") (le (int .Values.workload.progressDeadlineSeconds) (int $start)) }}
workload.progressDeadlineSeconds is {{ .Values.workload.progressDeadlineSeconds }}, so a rollout would be called failed while a pod may still be starting: probes.startup.periodSeconds {{ .Values.probes.startup.periodSeconds }} x failureThreshold {{ .Values.probes.startup.failureThreshold }} + workload.minReadySeconds {{ .Values.workload.minReadySeconds }} make {{ $start }}. Set it to more than {{ $start }}.
{{- end }}
{{- $surge := .Values.workload.maxSurge | toString | trimSuffix "%" -}}
{{- $missing := .Values.workload.maxUnavailable | toString | trimSuffix "%" -}}
{{- if and (ne .Values.workload.kind "StatefulSet") (eq $surge "0") (eq $missing "0") }}
workload.maxSurge and workload.maxUnavailable are both 0, so no pod could ever be replaced. Set one of them to 1 or more.
{{- end }}
{{- end -}}

{{- define "triptych.refuse.catalogue" -}}
{{- with .Values.catalogue -}}
{{- if .enabled }}
{{- if and (eq .engine "weaviate") (not .weaviate.url) }}
catalogue.engine is weaviate and catalogue.weaviate.url is empty. Set it to the cluster's address, such as http://weaviate:8080.
{{- end }}
{{- if and (eq .engine "embedded") .weaviate.url }}
catalogue.weaviate.url is {{ .weaviate.url }} and catalogue.engine embedded, which asks no cluster. Set catalogue.engine to weaviate, or take the address out.
{{- end }}
{{- if eq .engine "embedded" }}
{{- if ne $.Values.workload.kind "StatefulSet" }}
catalogue.enabled is true and workload.kind {{ $.Values.workload.kind }}, whose rollouts start a new pod beside the old one, and the volume is one pod's. Set workload.kind to StatefulSet.
{{- end }}
{{- if or (include "triptych.isAutoscaled" $) (ne (int $.Values.workload.replicas) 1) }}
catalogue.enabled is true with more than one pod: each would have a catalogue of its own, and a write reaches one of them. Set workload.replicas to 1, without autoscaling, and let a second release of the chart recognise.
{{- end }}
{{- end }}
{{- if not .key.existingSecret }}
catalogue.key.existingSecret is empty, so nobody could write to the catalogue. Set it to a Secret, such as kubectl create secret generic triptych-catalogue --from-literal=key=$(openssl rand -hex 32).
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.refuse.budget" -}}
{{- if .Values.pdb.enabled -}}
{{- $pods := include "triptych.fewestPods" . | int -}}
{{- $stay := .Values.pdb.minAvailable | toString -}}
{{- $leave := .Values.pdb.maxUnavailable | toString -}}
{{- if and (ne $stay "") (ne $leave "") }}
pdb.minAvailable and pdb.maxUnavailable are both set; Kubernetes takes one. Set one of them to "".
{{- else if and (eq $stay "") (eq $leave "") }}
pdb.enabled is true, but neither pdb.maxUnavailable nor pdb.minAvailable is set. Set pdb.maxUnavailable to 1.
{{- else if and (ne $stay "") (ge (include "triptych.podsOf" (dict "value" $stay "pods" $pods) | int) $pods) }}
pdb.minAvailable is {{ $stay }} of {{ $pods }} {{ eq $pods 1 | ternary "pod" "pods" }}, so no node could ever be drained. Set it lower, or use pdb.maxUnavailable: 1.
{{- else if and (eq $stay "") (eq (trimSuffix "%" $leave) "0") }}
pdb.maxUnavailable is {{ $leave }}, so no node could ever be drained. Set it to 1 or more.
{{- end }}
{{- end }}
{{- end -}}

{{- define "triptych.refuse.autoscaling" -}}
{{- $scaling := .Values.autoscaling -}}
{{- $hpa := $scaling.hpa.enabled -}}
{{- $keda := $scaling.keda.enabled -}}
{{- $asksPrometheus := or $scaling.inFlight.enabled $scaling.queueWait.enabled -}}
{{- if and $hpa $keda }}
autoscaling.hpa.enabled and autoscaling.keda.enabled are both true: KEDA makes a HorizontalPodAutoscaler of its own, and two of them fight over the replicas. Set one to false.
{{- end }}
{{- if and (or $hpa $keda) (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
autoscaling.minReplicas is {{ $scaling.minReplicas }}, above autoscaling.maxReplicas {{ $scaling.maxReplicas }}. Swap them.
{{- end }}
{{- if and $hpa (eq (int $scaling.minReplicas) 0) }}
autoscaling.minReplicas is 0, and a HorizontalPodAutoscaler cannot start from none. Set it to 1 or more, or use autoscaling.keda with a trigger of its own.
{{- end }}
{{- if and $keda (eq (int $scaling.minReplicas) 0) (not $scaling.keda.extraTriggers) }}
autoscaling.minReplicas is 0 and only Triton's metrics would wake the server, which it does not send while there is no pod. Set it to 1 or more, or add to autoscaling.keda.extraTriggers what the callers' gateway or queue reports.
{{- end }}
{{- if and $hpa (not $asksPrometheus) (not $scaling.hpa.cpuFallback.enabled) }}
autoscaling.hpa.enabled is true without anything to scale on. Enable autoscaling.inFlight, autoscaling.queueWait or autoscaling.hpa.cpuFallback.
{{- end }}
{{- if and $hpa $scaling.hpa.cpuFallback.enabled (not (.Values.resources.requests | default dict).cpu) }}
autoscaling.hpa.cpuFallback needs resources.requests.cpu, of which it takes its percentage. Set it, or disable the fallback.
{{- end }}
{{- if and $keda (not $asksPrometheus) (not $scaling.keda.extraTriggers) }}
autoscaling.keda.enabled is true without a trigger. Enable autoscaling.inFlight or autoscaling.queueWait, or add to autoscaling.keda.extraTriggers.
{{- end }}
{{- if and $keda $asksPrometheus (not $scaling.keda.prometheusAddress) }}
autoscaling.keda.prometheusAddress is empty. Set it to the Prometheus that scrapes the pods, such as http://prometheus.monitoring:9090.
{{- end }}
{{- end -}}

{{- define "triptych.refuse.monitoring" -}}
{{- $monitoring := .Values.monitoring -}}
{{- if and $monitoring.podMonitor.enabled $monitoring.serviceMonitor.enabled }}
monitoring.podMonitor and monitoring.serviceMonitor are both enabled, so every figure would count twice. Disable one, best serviceMonitor.
{{- end }}
{{- if and $monitoring.serviceMonitor.enabled (not (include "triptych.hasHeadless" .)) }}
monitoring.serviceMonitor needs the headless Service, which alone has the port of the metrics. Set headlessService.enabled to true, or use monitoring.podMonitor.
{{- end }}
{{- if and $monitoring.rules.enabled (not (.Files.Glob "files/rules/*.yaml")) }}
monitoring.rules.enabled is true, but this copy of the chart holds no rules. Run `make generate` in the repository and package the chart again.
{{- end }}
{{- if and $monitoring.dashboards.enabled (not (.Files.Glob "files/dashboards/*.json")) }}
monitoring.dashboards.enabled is true, but this copy of the chart holds no dashboards. Run `make generate` in the repository and package the chart again.
{{- end }}
{{- end -}}

{{- define "triptych.refuse.routes" -}}
{{- range $name, $route := .Values.gatewayApi }}
{{- if and $route.enabled (not $route.parentRefs) }}
gatewayApi.{{ $name }}.enabled is true, but parentRefs is empty, so no Gateway takes the route. Add one, such as [{name: public, namespace: gateways}].
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
ingress.enabled is true, but ingress.hosts is empty. Add the host names.
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.networkPolicy.callers (not .Values.networkPolicy.callerPorts) }}
networkPolicy.callerPorts is empty, which Kubernetes reads as every port. Set it to [http, grpc] or one of them, or networkPolicy.callers to [].
{{- end }}
{{- end -}}

{{- define "triptych.refuse.canary" -}}
{{- $canary := .Values.canary -}}
{{- $hasRoute := or .Values.gatewayApi.httpRoute.enabled .Values.gatewayApi.grpcRoute.enabled -}}
{{- if eq .Values.workload.kind "Rollout" }}
{{- if and $canary.rollout.useRoutes (not $hasRoute) }}
canary.rollout.useRoutes is true without a route to carry the weights. Enable gatewayApi.httpRoute or gatewayApi.grpcRoute.
{{- end }}
{{- if and $canary.rollout.analysis.enabled (not $canary.rollout.analysis.prometheusAddress) }}
canary.rollout.analysis.prometheusAddress is empty. Set it to the Prometheus that scrapes the pods, such as http://prometheus.monitoring:9090.
{{- end }}
{{- if and $canary.rollout.useRoutes $canary.route.service }}
canary.rollout.useRoutes and canary.route.service both want the weights of the routes. Set canary.route.service to "".
{{- end }}
{{- else if or $canary.rollout.useRoutes $canary.rollout.analysis.enabled }}
canary.rollout is for Argo Rollouts, and workload.kind is {{ .Values.workload.kind }}. Set workload.kind to Rollout, or use canary.route.
{{- end }}
{{- if and $canary.route.service (not $hasRoute) }}
canary.route.service is set without a route to carry the weights. Enable gatewayApi.httpRoute or gatewayApi.grpcRoute.
{{- end }}
{{- if and $canary.route.weightPercent (not $canary.route.service) }}
canary.route.weightPercent is {{ $canary.route.weightPercent }}, but canary.route.service is empty. Set it to the Service of the second release.
{{- end }}
{{- end -}}

{{- define "triptych.refuse.extras" -}}
{{- $names := list "HOME" "TMPDIR" "PYTHONPATH" "TRIPTYCH_CACHE_MB" "TRIPTYCH_ADMIN_KEY" "TRIPTYCH_CATALOGUE_DIR" "TRIPTYCH_CATALOGUE_KEY_FILE" "TRIPTYCH_CATALOGUE_WEAVIATE" "TRIPTYCH_CATALOGUE_WEAVIATE_GRPC" "TRIPTYCH_CATALOGUE_WEAVIATE_REPLICAS" "TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE" -}}
{{- range .Values.extraEnv }}
{{- if has .name $names }}
extraEnv has {{ .name }}, which the chart sets itself. Take it out{{ eq .name "TRIPTYCH_CACHE_MB" | ternary " and use triton.answerCache.sizeMb" "" }}{{ hasPrefix "TRIPTYCH_CATALOGUE" .name | ternary " and use catalogue" "" }}.
{{- else if eq .name "TRIPTYCH_CATALOGUE_OPEN" }}
extraEnv has TRIPTYCH_CATALOGUE_OPEN, which lets every caller write to the catalogue. Take it out and set catalogue.key.existingSecret.
{{- end }}
{{- end }}
{{- range .Values.extraVolumes }}
{{- if has .name (list "shm" "tmp" "models" "scripts" "tls" "engine-cache" "bucket-credentials" "catalogue" "catalogue-key" "weaviate-key") }}
extraVolumes has {{ .name }}, the name of a volume of the chart. Rename it.
{{- end }}
{{- end }}
{{- range .Values.extraVolumeMounts }}
{{- if has (trimSuffix "/" .mountPath) (list "/dev/shm" "/tmp" "/models" "/opt/triptych/scripts" "/etc/triptych/tls" "/var/cache/triptych" "/var/lib/triptych" "/etc/triptych/catalogue" "/etc/triptych/weaviate") }}
extraVolumeMounts has {{ .mountPath }}, a folder that the chart mounts itself. Mount it elsewhere.
{{- end }}
{{- end }}
{{- range concat .Values.extraContainers .Values.extraInitContainers }}
{{- if has .name (list "triton" "fetch-release" "verify-release") }}
{{ .name }} in extraContainers or extraInitContainers is the name of a container of the chart. Rename it.
{{- end }}
{{- end }}
{{- end -}}
