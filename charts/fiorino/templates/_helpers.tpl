{{/* Name of every object of the operator. */}}
{{- define "fiorino.name" -}}
{{- printf "%s-operator" (.Release.Name | trunc 54 | trimSuffix "-") -}}
{{- end }}

{{/* Name of what is not in a namespace: two releases of the same name in different namespaces do not collide. */}}
{{- define "fiorino.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "fiorino.name" .) -}}
{{- end }}

{{- define "fiorino.selector" -}}
app.kubernetes.io/name: fiorino-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fiorino.labels" -}}
{{ include "fiorino.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: fiorino
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "fiorino.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "fiorino.name" .) -}}
{{- end }}

{{- define "fiorino.platform" -}}
{{- .Values.platform | default .Release.Namespace -}}
{{- end }}

{{/* Namespaces that are watched in namespace mode, as JSON: the platform's is always one of them. Cluster mode: none. */}}
{{- define "fiorino.namespaces" -}}
{{- $namespaces := list -}}
{{- if .Values.watchNamespaces -}}
{{- $namespaces = append .Values.watchNamespaces (include "fiorino.platform" .) | uniq | sortAlpha -}}
{{- end -}}
{{- $namespaces | toJson -}}
{{- end }}

{{- define "fiorino.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The account that a binding binds. */}}
{{- define "fiorino.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "fiorino.serviceAccount" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{/* What the operator does wherever it watches: in the cluster, or in each namespace. */}}
{{- define "fiorino.rules" -}}
rules:
  # A copy of every custom resource is kept by watching: the manifest is the only source of configuration.
  - apiGroups: [fiorino.dev]
    resources: [brokers, creditorinstitutions, ibans, paymentservices, serviceprofiles, stations]
    verbs: [list, watch]
  # metadata.finalizers of an institution: its deletion waits until tenant serves it as unmanaged. The API server knows no right to a
  # field: that nothing else of the manifest is written is ensured by the admission policy.
  - apiGroups: [fiorino.dev]
    resources: [creditorinstitutions]
    verbs: [patch]
  # Conditions, stage and who is waited for. Statuses of brokers, profiles and stations are written in the platform's namespace alone.
  - apiGroups: [fiorino.dev]
    resources: [creditorinstitutions/status, ibans/status, paymentservices/status]
    verbs: [patch]
  # An Event for every change of a condition.
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create]
{{- end }}
