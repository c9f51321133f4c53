module fiorino.dev/xtask/tools/helm

go 1.26.0

require (
	github.com/yannh/kubeconform v0.8.0
	helm.sh/helm/v4 v4.3.1
)
