#!/usr/bin/env bash
# test_faults.sh - broken input of every kind: one message that says what is wrong and where, and no output folder, since
# everything is looked at before any work.
source "$SOURCE_DIR/run_lib.sh"

# Copies that can be broken.
cp -r "$golden/a" set
chmod -R u+w set
base=$work/set/base
fresh() { rm -rf set && cp -r "$golden/a" set && chmod -R u+w set; }
configuration a x | sed "s|$golden/a|$work/set|g; s|stream: .*|stream: {name: s, tasks: [{name: colour, train: train.json, test: $work/set/data/task0.json, images: set/data, metric: exact}]}|" >x.yaml
put() { cp "$golden/a/data/task0.json" train.json; }
put

# refused STATUS WORDS [OPTIONS]
refused() {
    local want=$1 words=$2
    shift 2
    error "$want" "$words" "$CLLAVA" train x.yaml "$@"
    [[ ! -e x ]] || fail "'$words': an output folder is left"
}

train 0 x.yaml
mv x whole

# The base.
truncate -s 400000 $base/model.safetensors
refused 1 "base/model.safetensors: .*(cut short|fetch)"
fresh
truncate -s 5 $base/model.safetensors
refused 1 'base/model.safetensors has 5 bytes, too few .*hint: was it fetched whole'
fresh
printf '\xff\xff\xff\xff\xff\xff' | dd of=$base/model.safetensors bs=1 conv=notrunc status=none
refused 1 'base/model.safetensors: the header has .*hint: not a safetensors file'
fresh
printf 'garbage garbage' | dd of=$base/model.safetensors bs=1 seek=100 conv=notrunc status=none
refused 1 'base/model.safetensors: '
fresh
sed -i 's/"hidden_size": 64/"hidden_size": 128/; s/"head_dim": 16/"head_dim": 32/' $base/config.json
refused 1 'model.safetensors: tensor .* has shape .*, expected .*hint: do config.json and weights belong together'
fresh
sed -i 's/"model_type": "llava"/"model_type": "qwen9"/' $base/config.json
refused 1 'config.json: .*model_type.*qwen9'
fresh
sed -i 's/"model_type": "llama"/"model_type": "mamba"/' $base/config.json
refused 1 'config.json: .*mamba'
fresh
echo '{"a": ' >$base/config.json
refused 1 'base/config.json'
fresh
rm $base/tokenizer.model
refused '[12]' 'tokenizer'
fresh
head -c 3000 "$golden/a/base/tokenizer.model" >$base/tokenizer.model
refused 1 'tokenizer.model'
fresh
rm $base/tokenizer.model
cp "$golden/b/base/tokenizer.json" $base/
refused 1 'tokenizer.*(hint: tokenizer and weights are of different models|expected)'
fresh
rm $base/model.safetensors
refused 1 'no weights in .*base .*hint: check the path'
fresh
rm -r $base && cp -r "$golden/b/base" $base && chmod -R u+w $base && rm $base/model-00002-of-00003.safetensors
refused 1 'model-00002-of-00003.safetensors, which .*model.safetensors.index.json names, is not there; hint: fetch all 3 shards'
fresh
sed -i 's/"hidden_size": [0-9]*/"hidden_size": 48/' set/encoder/config.json
refused 1 'encoder'
fresh

# Task files.
record() { # N: record N (from 0) of the task file on one line
    tr -d '\n' <"$golden/a/data/task0.json" | sed 's/^\[ *//; s/ *\]$//; s/  *{ *"id"/\n{"id"/g' | grep . | sed -n "$(($1 + 1))p" | sed 's/,* *$//'
}
lines() { for i in {0..7}; do record $i; done; }
lines >train.json
train 0 x.yaml
rm -r x
lines | sed '5s/"conversations"/conversations/' >train.json
refused 1 'train.json: record 5: '
lines | sed '3s/"gpt"/"robot"/' >train.json
refused 1 'train.json: record 3: .*robot'
lines | sed '4s/t0_3.png/t9_9.png/' >train.json
refused 1 'train.json: record 4: .*t9_9.png'
lines | sed -E '2s/("from": "gpt", *"value": )"[a-z ]*"/\1""/' >train.json
refused 1 'train.json: record 2: '
lines | sed '6s/colour is/co\xfflour is/' >train.json
refused 1 'train.json: record 6: '
head -c 900 "$golden/a/data/task0.json" >train.json
refused 1 'train.json: '
echo -n >train.json
refused 1 'train.json: .*no records in it'
printf '\x7fELF' >train.json
refused 1 'train.json: '
put
refused 1 'train.json: record 1: .*(32|max_length)' --set stage2.max_length=32

# Pictures.
echo '<html>not found</html>' >set/data/images/t0_2.png
refused 1 'train.json: record 3: .*images/t0_2.png: .*HTML|train.json: record 3: .*images/t0_2.png'
printf '\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x01\x86\xa0\x00\x01\x86\xa0\x08\x02\x00\x00\x00\x9b\x5b\x2e\x7d' >set/data/images/t0_2.png
refused 1 'train.json: record 3: .*images/t0_2.png.*100000'
: >set/data/images/t0_2.png
refused 1 'train.json: record 3: .*images/t0_2.png'
# .. left out instead, counted and listed; what is left trains
train 0 x.yaml --set data.on_error=skip
grep -q 'train.json: 1 broken records left out' err || fail 'not counted'
grep -q '^  record 3: .*t0_2.png' err || fail 'not listed'
grep -q '"samples":8' x/log.jsonl || fail 'not left out'
rm -r x
# a header that is right and a body that is not shows when the picture is needed
head -c 60 "$golden/a/data/images/t0_2.png" >set/data/images/t0_2.png
error 1 'images/t0_2.png' "$CLLAVA" train x.yaml --quiet
rm -r x
fresh

# Checkpoints that cannot be used.
good=whole/checkpoint-task0-colour.h5
echo 'not hdf5, but long enough to be looked at' >foreign.h5
cp $good cut.h5 && truncate -s -5000 cut.h5
for file in foreign.h5 cut.h5 missing.h5 "$golden/a/base/config.json"; do
    error 1 "$(basename $file)" "$CLLAVA" eval $file --quiet
    error 1 "$(basename $file)" "$CLLAVA" score $file train.json
    error 1 "$(basename $file)" "$CLLAVA" inspect $file
    error '[12]' "$(basename $file)" "$CLLAVA" train x.yaml --quiet --set pool.init=$file
    [[ ! -e x ]] || fail "pool.init $file: an output folder is left"
done
error 1 'golden.h5: ' "$CLLAVA" eval "$golden/a/golden.h5"
error '[12]' 'init.h5' "$CLLAVA" eval "$golden/a/init.h5"
error 1 'init.h5: ' "$CLLAVA" train x.yaml --quiet --set pool.init="$golden/b/init.h5"
[[ ! -e x ]] || fail 'pool.init: an output folder is left'
[[ ! -e foreign-eval-free && ! -e cut-eval-free ]] || fail 'eval: an output folder is left'
# trained on another base, another encoder
printf '\x00\x00\x00\x3f' | dd of=$base/model.safetensors bs=1 seek=700000 conv=notrunc status=none
error 1 'checkpoint-task0-colour.h5: checkpoint of another base \(got .*, expected .*base\); hint' "$CLLAVA" eval $good --quiet
error 1 'checkpoint of another base' "$CLLAVA" score $good train.json
cp -r whole x
error 1 'checkpoint of another base' "$CLLAVA" train x.yaml --quiet
diff -r -x .lock whole x >difference || fail 'a refused run changed the folder'
fresh
printf '\x00\x00\x00\x3f' | dd of=set/encoder/model.safetensors bs=1 seek=20000 conv=notrunc status=none
error 1 'checkpoint of another encoder' "$CLLAVA" eval $good --quiet
error 1 'checkpoint of another encoder' "$CLLAVA" train x.yaml --quiet
fresh
rm -r x
# the data are no longer those that the task began with
train 75 x.yaml --max-steps 4
lines >train.json
error 1 'task colour has 8 usable training records, 9 when it began; hint' "$CLLAVA" train x.yaml --quiet
put
train 0 x.yaml
same whole x
rm -r x

# Numbers that are none: the samples are named, and what is left of the run.
nan() { printf '\xff\xff\xff\xff' | dd of=$base/model.safetensors bs=1 seek=$1 conv=notrunc status=none; }
nan 700000
error 1 'evaluation on colour: .*NaN.*\(while answering t0-0, .*the last good checkpoint is .*x/checkpoint-step0.h5' "$CLLAVA" train x.yaml --quiet
rm -r x
error 1 'stage 2, step 0: loss is not finite in a batch of 2 samples \(t0-0, t0-1\); hint.*the last good checkpoint is .*x/checkpoint-step6.h5' \
    "$CLLAVA" train x.yaml --quiet --set eval.zero_shot=false
[[ -e x/checkpoint-step6.h5 ]] || fail 'the checkpoint is not there'
rm -r x
error 1 'nll of t0-0 is not finite' "$CLLAVA" score --base-only x.yaml train.json
fresh
error 1 'nothing.json: cannot be opened' "$CLLAVA" score $good nothing.json

# An output folder that cannot be.
touch file
error 2 'output' "$CLLAVA" train x.yaml --quiet --set output=file/x
error '[12]' '/proc/x' "$CLLAVA" train x.yaml --quiet --set output=/proc/x
[[ $(cat file) == '' ]] || fail 'the file was written'
error 1 'output folder .*file cannot be|cannot make folder .*file/predictions|cannot write to .*file' "$CLLAVA" eval $good --quiet --output file

# A disk that gets full, and one that cannot be written to. (test_resume.sh fills it at any point without mounting.)
mkdir small
if mount -t tmpfs -o size=140k tmpfs small 2>/dev/null; then
    trap 'cd /; umount "$work/small"; rm -rf "$work" "$sessions"' EXIT
    error 1 'No space left on device.*; hint: free space' "$CLLAVA" train x.yaml --quiet --set output=small/x --set checkpoint.keep=9
    ls small/x/*.h5 >/dev/null || fail 'no checkpoint before the disk was full'
    for file in small/x/*.h5; do "$CLLAVA" inspect "$file" >/dev/null || fail "full disk: $file is not whole"; done
    mount -o remount,size=9m small
    train 0 x.yaml --set output=small/x --set checkpoint.keep=9
    mv whole small/
    (cd small && same whole x)
    mount -o remount,ro small
    error '[12]' 'small/x.*Read-only file system' "$CLLAVA" train x.yaml --quiet --set output=small/x
    error '[12]' 'small.*Read-only file system' "$CLLAVA" train x.yaml --quiet --set output=small/y
else
    echo 'skipped: a full and a read-only disk (cannot mount one here)'
fi
echo 'all passed'
