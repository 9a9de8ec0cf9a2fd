{{- /* What every name begins with, or is: of the release dpdk-webhook, dpdk-webhook. The Service has this name too, and DNS
     labels are stricter than the names of releases. */ -}}
{{- define "dpdk-webhook.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $full = default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) }}
{{- fail (printf "no Service can be called %s; set fullnameOverride to a-z, 0-9 and -, a letter first" $full) }}
{{- end }}
{{- $full }}
{{- end }}

{{- /* By which the Service, the Deployment and all else find the pods: never more than this, as it can't be changed. */ -}}
{{- define "dpdk-webhook.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "dpdk-webhook.labels" -}}
{{ include "dpdk-webhook.labelsWith" (list dict .) }}
{{- end }}

{{- /* And further ones, which win over those that are on everything: (list .Values.podLabels .) */ -}}
{{- define "dpdk-webhook.labelsWith" -}}
{{ include "dpdk-webhook.selectorLabels" (last .) }}
app.kubernetes.io/version: {{ (last .).Chart.AppVersion | quote }}
{{- with merge (deepCopy (first .)) (last .).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dpdk-webhook.serviceAccountName" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty; name the account that the replicas run as" }}
{{- end }}
{{- default (include "dpdk-webhook.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- /* Of the Secret with the certificate: in mode self the replicas write it, in the others it is mounted. */ -}}
{{- define "dpdk-webhook.secretName" -}}
{{- $suffix := ternary "tls" "serving" (eq .Values.certificates.mode "self") }}
{{- default (printf "%s-%s" (include "dpdk-webhook.fullname" .) $suffix) .Values.certificates.secretName }}
{{- end }}

{{- /* repository:tag, or repository@digest. Of both, one would be left out without a word: an upgrade that sets the other one
     would apply new manifests and run the old image. */ -}}
{{- define "dpdk-webhook.image" -}}
{{- if and .Values.image.tag .Values.image.digest }}
{{- fail (printf "image.tag is %s and image.digest is %s; leave one of them empty" .Values.image.tag .Values.image.digest) }}
{{- end }}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- /* A number without an exponent, or a percentage in quotation marks. */ -}}
{{- define "dpdk-webhook.amount" -}}
{{- if kindIs "string" . }}{{ quote . }}{{ else }}{{ int . }}{{ end }}
{{- end }}

{{- /* How many replicas that is. Of a budget's percentages Kubernetes rounds up both: (list "50%" .) */ -}}
{{- define "dpdk-webhook.ofReplicas" -}}
{{- if kindIs "string" (first .) }}
{{- div (add (mul (trimSuffix "%" (first .) | int) (int (last .).Values.replicaCount)) 99) 100 }}
{{- else }}
{{- int (first .) }}
{{- end }}
{{- end }}

{{- define "dpdk-webhook.tlsPort" -}}
{{ int (default 8443 .Values.settings.tls_port) }}
{{- end }}

{{- define "dpdk-webhook.healthPort" -}}
{{ int (default 8080 .Values.settings.health_port) }}
{{- end }}

{{- /* A match condition in CEL: pods annotated dpdk: "true". It holds without an error for every other object, also for
     those that are being deleted. */ -}}
{{- define "dpdk-webhook.annotated" -}}
object != null
&& has(object.metadata.annotations)
&& 'dpdk' in object.metadata.annotations
&& object.metadata.annotations['dpdk'] == 'true'
{{- end }}

{{- /* The match conditions for pods that a site adds to ours: who is not sent to the webhook is not for the policy either. The API
     server evaluates each, and one that is too dear for a large pod refuses it: so none of them looks at one that isn't
     annotated. */ -}}
{{- define "dpdk-webhook.furtherConditions" -}}
{{- $annotated := include "dpdk-webhook.annotated" . | replace "\n" " " }}
{{- range .Values.webhook.matchConditions }}
- name: {{ .name | quote }}
  expression: {{ printf "!(%s) || (\n%s\n)" $annotated .expression | toRawJson }}
{{- end }}
{{- end }}

{{- /* Namespaces that are never looked at, whatever a site adds: the cluster's own pods must start when nothing else runs, and
     so must the webhook's. */ -}}
{{- define "dpdk-webhook.namespaceSelector" -}}
{{- with .Values.webhook.namespaceSelector.matchLabels -}}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{ end -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      - kube-system
      - {{ .Release.Namespace | quote }}
  {{- with .Values.webhook.namespaceSelector.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* The same, of these only those where Pod Security refuses capabilities, or only the others: (list "In" .), (list "NotIn" .) */ -}}
{{- define "dpdk-webhook.namespaceSelectorByPodSecurity" -}}
{{ include "dpdk-webhook.namespaceSelector" (last .) }}
  - key: pod-security.kubernetes.io/enforce
    operator: {{ first . }}
    values:
      - baseline
      - restricted
{{- end }}

{{- /* For whoever fills in the caBundle, and what a site adds. */ -}}
{{- define "dpdk-webhook.configurationAnnotations" -}}
{{- $annotations := deepCopy .Values.webhook.annotations }}
{{- if eq .Values.certificates.mode "cert-manager" }}
{{- $serving := printf "%s/%s-serving" .Release.Namespace (include "dpdk-webhook.fullname" .) }}
{{- $annotations = set $annotations "cert-manager.io/inject-ca-from" $serving }}
{{- else if eq .Values.certificates.mode "openshift" }}
{{- $annotations = set $annotations "service.beta.openshift.io/inject-cabundle" "true" }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Where the API server finds a path of ours: (list "/mutate" .) */ -}}
{{- define "dpdk-webhook.clientConfig" -}}
service:
  namespace: {{ (last .).Release.Namespace | quote }}
  name: {{ include "dpdk-webhook.fullname" (last .) | quote }}
  path: {{ first . }}
{{- with (last .).Values.certificates.caBundle }}
caBundle: {{ b64enc . | quote }}
{{- end }}
{{- end }}

{{- /* A setting as an environment variable holds it: lists with commas, objects as JSON, numbers as they were typed. */ -}}
{{- define "dpdk-webhook.setting" -}}
{{- if kindIs "slice" . }}{{ join "," . | toJson }}
{{- else if kindIs "map" . }}{{ toJson . | toJson }}
{{- else if kindIs "string" . }}{{ toString . | toJson }}
{{- else }}{{ toJson . | quote }}
{{- end }}
{{- end }}
