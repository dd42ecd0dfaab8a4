#!/usr/bin/env bash
# In the pipeline's image: `executor` is what Spark on Kubernetes asks for, everything else a command of creatorlake.
set -euo pipefail

if [ "${1:-}" != executor ]; then
    exec creatorlake "$@"
fi
options=()
while IFS='=' read -r name _; do
    if [[ $name == SPARK_JAVA_OPT_* ]]; then options+=("${!name}"); fi
done < <(env | sort -t_ -k4 -n)
exec java "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
    -cp "${SPARK_EXTRA_CLASSPATH:-}:$SPARK_HOME/jars/*:${SPARK_CLASSPATH:-}" \
    org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
    --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
    --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
    --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME"
